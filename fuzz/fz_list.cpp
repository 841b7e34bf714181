// SPDX-License-Identifier: MIT
//
// fz_list.cpp - the intrusive list beside a deque.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::ListRig)
