// SPDX-License-Identifier: MIT
//
// fz_slots.cpp - the slot pool beside a set, generations beside a counter.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::SlotsRig)
