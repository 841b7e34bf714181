// SPDX-License-Identifier: MIT
//
// spin_lock.hpp - mutual exclusion for a few instructions, between workers and foreign OS threads.
// The holder never switches. A waiter spins a bounded number of times, then lets other OS threads
// run: with more workers than cores the holder may have lost its CPU (trap "SpinLock whose holder
// lost its CPU"). Invariants: INV-LOCK-1. Tests: tests/unit/spin_lock_test.cpp. Source:
// test-and-test-and-set, Rudolph and Segall, ISCA 1984.
#pragma once

#include "core/port.hpp"

namespace gvt::core {

template <class P>
class GVT_CAPABILITY("SpinLock") SpinLock {
 public:
  void lock() noexcept GVT_ACQUIRE() GVT_NO_THREAD_SAFETY_ANALYSIS {
    // ORD-LOCK-1: acquire, pairs with the release in unlock().
    if (held_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]]
      lock_slow();
  }

  void unlock() noexcept GVT_RELEASE() GVT_NO_THREAD_SAFETY_ANALYSIS {
    held_.store(0, std::memory_order_release);  // ORD-LOCK-1
  }

  // For audits. Relaxed: nothing is done on the strength of it.
  bool held() const noexcept { return held_.load(std::memory_order_relaxed) != 0; }

 private:
  static constexpr u32 kSpinsBeforeRelinquish = 100;

  [[gnu::noinline]] void lock_slow() noexcept {
    for (;;) {  // ends when the holder unlocks; holders never block
      for (u32 spins = 0; spins < kSpinsBeforeRelinquish; ++spins) {
        // Relaxed: only a hint that the exchange may succeed.
        if (held_.load(std::memory_order_relaxed) == 0 &&
            held_.exchange(1, std::memory_order_acquire) == 0) {  // ORD-LOCK-1
          return;
        }
        P::pause();
      }
      P::relinquish();
    }
  }

  typename P::template Atomic<u8> held_{0};
};

template <class P>
class GVT_SCOPED_CAPABILITY LockGuard {
 public:
  explicit LockGuard(SpinLock<P>& lock) noexcept GVT_ACQUIRE(lock) : lock_(lock) { lock_.lock(); }
  ~LockGuard() noexcept GVT_RELEASE() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  SpinLock<P>& lock_;
};

}  // namespace gvt::core
