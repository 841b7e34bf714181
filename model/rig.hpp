// SPDX-License-Identifier: MIT
//
// rig.hpp - runs a program on the real kernel in the simulated world, beside the specification, and
// says what differs first. May include model/ only. Tests: tests/property, fuzz/.
#pragma once

#include <cstdio>

#include "model/ops.hpp"
#include "model/sim_port.hpp"

namespace gvt::sim {

struct RunResult {
  Failure failure;
  u64 trace = 0;  // equal for equal runs
  u64 steps = 0;
  u64 switches = 0;     // of virtual OS threads
  u32 operations = 0;   // begun
  u32 comparisons = 0;  // of the whole state with the specification
  u32 spawned = 0;
  bool complete = false;  // nothing was left out for the budget's sake

  bool ok() const noexcept { return failure.invariant == nullptr; }
};

RunResult run(const Program& program);

// For fuzzers: decodes, runs, and on a failure prints the program, what broke and the token, then
// traps. `faults`: whether the input's last section counts.
void run_or_trap(const u8* data, usize size, bool faults);

// What a person needs: the program, the failure, and the token that replays it.
std::string report(const Program& program, const RunResult& result);

// With the canary set each run that joins a thread fails: a harness that can't fail proves nothing.
extern bool canary;

// When set, a worker that sleeps while a thread is ready behind a worker that its thread blocks is
// a failure too (INV-IDLE-3).
extern bool work_conserving;

// When set, each operation and each step of a thread's word is printed as it happens.
extern std::FILE* narration;

}  // namespace gvt::sim
