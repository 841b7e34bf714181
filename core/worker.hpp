// SPDX-License-Identifier: MIT
//
// worker.hpp - what an OS thread needs while it runs green threads, and what it counts.
#pragma once

#include "core/thread.hpp"

namespace gvt::core {

// Picks between two looks at the clock: one costs 29 ns, so half a ns a switch.
inline constexpr u32 kTimerInterval = 61;

// Counted by each worker for itself; read by anybody, each number on its own.
enum class Count : u8 {
  spawned,   // threads published
  started,   // threads dispatched for the first time
  ended,     // threads gone, their slots free again
  yields,    // calls of yield
  switches,  // from one thread, or the idle context, to a thread
  parks,     // waits that gave up the CPU
  timeouts,  // waits ended by their deadline
  steals,    // successful steals
  sleeps,    // waits of an idle worker in the kernel
  wakeups,   // idle workers signalled by this one
  kinds,
};

// What the context that gave up the worker has left to do for the one that runs next, see
// Scheduler::finish_switch().
enum class Post : u8 { none, requeue, park, exit };

template <class P, class Scheduler>
struct alignas(64) Worker {
  // States of the token, by which an idle worker is signalled.
  static constexpr u32 kAwake = 0;
  static constexpr u32 kSignalled = 1;
  static constexpr u32 kAsleep = 2;  // a signal needs a system call

  Scheduler* scheduler = nullptr;
  Thread<P>* current = nullptr;  // null in the idle context
  Thread<P>* post_thread = nullptr;
  Post post = Post::none;
  bool searching = false;  // counted in the idle set
  u32 index = 0;
  u32 until_timers = kTimerInterval;  // picks
  typename P::Context idle_context;
  typename P::Context dead_context;  // where one that never resumes is saved
  [[no_unique_address]] typename P::Fiber idle_fiber;
  typename P::template Atomic<u64> counts[static_cast<usize>(Count::kinds)]{};
  alignas(64) typename P::template Atomic<u32> token{kAwake};

  // Relaxed: one writer, and a statistic. What all_ended() relies on uses bump_release().
  [[gnu::always_inline]] inline void bump(Count kind) noexcept {
    auto& counter = counts[static_cast<usize>(kind)];
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  [[gnu::always_inline]] inline void bump_release(Count kind) noexcept {
    auto& counter = counts[static_cast<usize>(kind)];
    counter.store(counter.load(std::memory_order_relaxed) + 1,
                  std::memory_order_release);  // ORD-DRAIN-1
  }
  u64 count(Count kind, std::memory_order order) const noexcept {
    return counts[static_cast<usize>(kind)].load(order);
  }
};

}  // namespace gvt::core
