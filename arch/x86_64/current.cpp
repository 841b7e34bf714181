// SPDX-License-Identifier: MIT
//
// current.cpp - the variable behind current.hpp.
#include "arch/x86_64/current.hpp"

thread_local void* gvt_x86_64_current = nullptr;
