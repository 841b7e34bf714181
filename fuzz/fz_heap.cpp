// SPDX-License-Identifier: MIT
//
// fz_heap.cpp - the sleep heap beside a multimap.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::HeapRig)
