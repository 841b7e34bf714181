// SPDX-License-Identifier: MIT
//
// config.hpp - what a runtime is made of, and the check of each field against its bounds.
// Invariants: INV-CFG-1. Tests: tests/unit/config_test.cpp.
#pragma once

#include "core/types.hpp"

namespace gvt {

// Which ready queue a runtime uses. Both keep the same contract (core/ready_queue.hpp).
enum class QueueKind : u8 {
  simple,     // lists under spin locks
  lock_free,  // a ring per worker, without a lock on the owner's path
};

// How the page below each stack is made to fault.
enum class GuardMode : u8 {
  automatic,  // MADV_GUARD_INSTALL where the kernel has it (Linux 6.13), else mprotect
  madvise,    // MADV_GUARD_INSTALL, or start fails with map_limit
  mprotect,   // one mapping more per guard: at most about vm.max_map_count / 2 threads
  none,       // no guards: an overflow runs into the stack below
};

inline constexpr u32 kMaxWorkers = 56;            // one bit each in IdleSet's word
inline constexpr u32 kMaxThreads = u32{1} << 24;  // 16 777 216
inline constexpr u64 kMinSlotBytes = 16 * 1024;
inline constexpr u64 kMaxSlotBytes = u64{1} << 30;
inline constexpr u64 kMaxStackSpace = u64{1} << 46;  // half of the 47-bit user address space
inline constexpr u64 kPageBytes = 4096;

struct Config {
  u32 workers = 1;                    // OS threads that run green threads: 1 .. kMaxWorkers
  u32 max_threads = 16384;            // threads alive at once: 1 .. kMaxThreads
  u64 slot_bytes = 16 * 1024 * 1024;  // address space of one stack: a power of two
  QueueKind queue = QueueKind::lock_free;
  GuardMode guards = GuardMode::automatic;
  u32 warm_stacks = 4096;        // free stacks that keep their pages; those above give them back
  bool caller_is_worker = true;  // run() makes its caller worker 0; else all workers are ours
  friend constexpr bool operator==(const Config&, const Config&) noexcept = default;
};

// The first field that is out of range. field is null when the configuration is good.
struct ConfigError {
  const char* field = nullptr;
  u64 value = 0;
  u64 min = 0;
  u64 max = 0;
  const char* rule = nullptr;  // what else is asked of the value, or null

  constexpr bool ok() const noexcept { return field == nullptr; }
};

constexpr ConfigError check_config(const Config& c) noexcept {
  const auto outside = [](u64 v, u64 lo, u64 hi) { return v < lo || v > hi; };
  if (outside(c.workers, 1, kMaxWorkers)) return {"workers", c.workers, 1, kMaxWorkers, nullptr};
  if (outside(c.max_threads, 1, kMaxThreads)) {
    return {"max_threads", c.max_threads, 1, kMaxThreads, nullptr};
  }
  if (outside(c.slot_bytes, kMinSlotBytes, kMaxSlotBytes) ||
      (c.slot_bytes & (c.slot_bytes - 1)) != 0) {
    return {"slot_bytes", c.slot_bytes, kMinSlotBytes, kMaxSlotBytes, "a power of two"};
  }
  if (c.max_threads > kMaxStackSpace / c.slot_bytes) {
    return {"max_threads", c.max_threads, 1, kMaxStackSpace / c.slot_bytes,
            "max_threads x slot_bytes at most 64 TiB"};
  }
  if (static_cast<u8>(c.queue) > static_cast<u8>(QueueKind::lock_free)) {
    return {"queue", static_cast<u8>(c.queue), 0, static_cast<u8>(QueueKind::lock_free), nullptr};
  }
  if (static_cast<u8>(c.guards) > static_cast<u8>(GuardMode::none)) {
    return {"guards", static_cast<u8>(c.guards), 0, static_cast<u8>(GuardMode::none), nullptr};
  }
  return {};
}

}  // namespace gvt
