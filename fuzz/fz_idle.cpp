// SPDX-License-Identifier: MIT
//
// fz_idle.cpp - the set of idle and searching workers beside a set and a number.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::IdleRig)
