// SPDX-License-Identifier: MIT
//
// plain_port.hpp - the smallest ports that a container of core can be tested with, on one OS
// thread: nothing waits, there is no clock and no context. PlainPort has std::atomic. IntrudedPort
// runs a function of the test's choice just before the n-th atomic access of an operation: what
// another worker might do there, so that every retry of a compare-exchange can be reached from a
// sequential program. May include core/port.hpp and the hosted library.
#pragma once

#include <atomic>

#include "core/port.hpp"

namespace gvt::model {

struct PlainPort {
  template <class T>
  using Atomic = std::atomic<T>;
  struct Context {};
  struct Fiber {};

  static void pause() noexcept {}
  static void prefetch_context(const Context&) noexcept {}
  // A lock is held that nobody will ever release: there is only this OS thread.
  static void relinquish() noexcept {
    panic("INV-LOCK-1", "a lock was left held", __FILE__, __LINE__);
  }
};

// What interrupts the operation under test.
struct Intruder {
  u32 countdown = 0;  // fires before this many more accesses to atomics wider than a lock; 0: never
  u32 spurious = 0;   // the next this many weak compare-exchanges fail without a reason
  void (*run)(void* context) = nullptr;
  void* context = nullptr;
  u32 locks_held = 0;  // no intruder inside a lock: it would wait for it for ever
  bool fired = false;

  void arm(u32 accesses, void (*f)(void*), void* with) noexcept {
    countdown = accesses;
    run = f;
    context = with;
    fired = false;
  }
  void disarm() noexcept { countdown = spurious = 0; }

  void access() noexcept {
    if (countdown == 0 || locks_held != 0) [[likely]]
      return;
    if (--countdown > 0) return;
    fired = true;
    run(context);
  }
};

inline Intruder intruder;

template <class T>
class IntrudedAtomic {
  static constexpr bool kIsLock = sizeof(T) == 1;

 public:
  constexpr IntrudedAtomic() noexcept = default;
  constexpr IntrudedAtomic(T value) noexcept : value_(value) {}

  T load(std::memory_order order) const noexcept {
    access();
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept {
    access();
    value_.store(value, order);
    if constexpr (kIsLock) --intruder.locks_held;
  }
  T exchange(T value, std::memory_order order) noexcept {
    access();
    const T before = value_.exchange(value, order);
    if constexpr (kIsLock) intruder.locks_held += before == T{} ? 1 : 0;
    return before;
  }
  T fetch_add(T value, std::memory_order order) noexcept {
    access();
    return value_.fetch_add(value, order);
  }
  T fetch_sub(T value, std::memory_order order) noexcept {
    access();
    return value_.fetch_sub(value, order);
  }
  T fetch_or(T value, std::memory_order order) noexcept {
    access();
    return value_.fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order) noexcept {
    access();
    return value_.fetch_and(value, order);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) noexcept {
    access();
    return value_.compare_exchange_strong(expected, desired, success, failure);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) noexcept {
    access();
    if (intruder.spurious > 0) {
      --intruder.spurious;
      expected = value_.load(failure);
      return false;
    }
    return value_.compare_exchange_strong(expected, desired, success, failure);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order) noexcept {
    return compare_exchange_weak(expected, desired, order, std::memory_order_seq_cst);
  }

 private:
  static void access() noexcept {
    if constexpr (!kIsLock) intruder.access();
  }

  std::atomic<T> value_{};
};

struct IntrudedPort : PlainPort {
  template <class T>
  using Atomic = IntrudedAtomic<T>;
};

}  // namespace gvt::model
