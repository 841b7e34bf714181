// SPDX-License-Identifier: MIT
//
// fz_fault.cpp - fz_sched with faults: waits that return early or late, a clock that stands still,
// guards that are refused.
#include "model/rig.hpp"

extern "C" int LLVMFuzzerTestOneInput(const gvt::u8* data, gvt::usize size) {
  gvt::sim::run_or_trap(data, size, true);
  return 0;
}
