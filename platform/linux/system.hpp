// SPDX-License-Identifier: MIT
//
// system.hpp - what Linux supplies to the kernel: waiting, waking, time. Declares only; the .cpp
// files of this folder are the only ones that include OS and libc headers. Knows core's types,
// never arch. Tests: tests/unit/system_test.cpp. Source: futex(2), clock_gettime(2), prctl(2).
#pragma once

#include <atomic>

#include "core/types.hpp"

namespace gvt::platform_linux {

struct System {
  template <class T>
  using Atomic = std::atomic<T>;

  static void relinquish() noexcept;
  static u64 now_ns() noexcept;  // CLOCK_MONOTONIC

  // Sleeps while word == expected, at most until the deadline (absolute, CLOCK_MONOTONIC; kNever:
  // none). May return early: by a signal, or spuriously. Any errno of the system call but these is
  // a bug and panics.
  static void wait(std::atomic<u32>& word, u32 expected, u64 deadline_ns) noexcept;
  static void wake(std::atomic<u32>& word) noexcept;
};

// While it lives, the calling OS thread's timed waits end as soon as the timer does: the kernel
// else delays them by up to 50 us to merge them with others.
class PreciseTimers {
 public:
  PreciseTimers() noexcept;
  ~PreciseTimers() noexcept;
  PreciseTimers(const PreciseTimers&) = delete;
  PreciseTimers& operator=(const PreciseTimers&) = delete;

 private:
  int slack_before_ns_;
};

}  // namespace gvt::platform_linux
