// SPDX-License-Identifier: MIT
//
// kernel_canary.cpp - with GVT_CANARY in the environment the kernel's targets must fail, as the
// containers' do: each run that joins a thread, in fz_ctx each that switches, then breaks a rule.
// `ci/fuzz --canary` asks for it.
#include <cstdlib>

#include "model/rig.hpp"

// Weak: a target may have its own.
extern "C" [[gnu::weak]] int LLVMFuzzerInitialize(int*, char***) {
  gvt::sim::canary = std::getenv("GVT_CANARY") != nullptr;
  return 0;
}
