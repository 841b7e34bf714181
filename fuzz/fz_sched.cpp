// SPDX-License-Identifier: MIT
//
// fz_sched.cpp - a program of green threads and foreign OS threads, and a schedule of the workers
// that run it, on the real kernel beside the specification. The third section of an input counts
// nothing here; fz_fault is the same with it.
#include "model/rig.hpp"

extern "C" int LLVMFuzzerTestOneInput(const gvt::u8* data, gvt::usize size) {
  gvt::sim::work_conserving = true;
  gvt::sim::run_or_trap(data, size, false);
  return 0;
}
