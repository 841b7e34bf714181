// SPDX-License-Identifier: MIT
//
// fz_park.cpp - the thread's word beside separate fields: permit, wait, life.
#include "fuzz/container_target.hpp"

GVT_FUZZ_CONTAINER(gvt::model::ParkRig)
