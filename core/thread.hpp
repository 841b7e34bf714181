// SPDX-License-Identifier: MIT
//
// thread.hpp - the control block of a green thread: one cache line that every switch touches, one
// that only spawn, exit and join touch. Both lie densely in arrays indexed by id: metadata at a
// stack's stride would all map to one cache set. The control block outlives its threads; the
// generation in `word` tells them apart. Invariants: INV-CTX-1, INV-CTX-2, INV-REF-1, INV-SLOT-1.
// Tests: tests/unit/scheduler_test.cpp.
#pragma once

#include "core/park_word.hpp"
#include "core/port.hpp"
#include "core/spin_lock.hpp"

namespace gvt::core {

inline constexpr usize kInlineCallableBytes = 48;
inline constexpr usize kNameBytes = 32;  // with the final zero

template <class P>
struct Joiner;

// What spawn leaves for the first dispatch, and who waits for the end.
template <class P>
struct alignas(64) Cold {
  alignas(16) std::byte callable[kInlineCallableBytes];
  void (*invoke)(void* callable) noexcept = nullptr;  // calls, then destroys
  Joiner<P>* joiners = nullptr;                       // guarded by the thread's join_lock
};

template <class P>
struct alignas(64) Thread {
  static constexpr u32 kNoStack = ~u32{0};

  typename P::Context context;               // valid while the thread has a stack and does not run
  typename P::template Atomic<u64> word{0};  // ParkWord
  Thread* next = nullptr;                    // link of the queue that holds the thread [INV-RQ-1]
  u32 id = 0;
  u32 stack = kNoStack;   // stack slot, bound from first dispatch to exit
  u8 heap_worker = 0;     // whose sleep heap holds the thread, while it waits with a deadline
  bool queued = false;    // in a ready queue
  bool named = false;     // the name of this id is this life's
  SpinLock<P> join_lock;  // guards Cold::joiners; an old life's joiner may still take it
  [[no_unique_address]] typename P::Fiber fiber;

  void prefetch() const noexcept { P::prefetch_context(context); }

  Handle handle() const noexcept {
    // Relaxed: the generation does not change while the thread lives, and the caller holds it
    // alive.
    return {id, ParkWord{word.load(std::memory_order_relaxed)}.generation()};
  }
};

// Applies a step of park_word.hpp to the thread. True if the caller must enqueue the thread.
// ORD-WORD-1: acquire and release, whatever the step: the one who resumes a thread sees all that
// those who ended its wait, and the thread itself before it, have written. Also when the word does
// not change, as for a second unpark. ORD-STOP-1: seq_cst, because a wait then looks at the stop
// flag (store-load), see Scheduler::stop().
template <class P, class StepFunction>
bool take_step(Thread<P>& thread, StepFunction&& step, ParkWord* after = nullptr) noexcept {
  u64 word = thread.word.load(std::memory_order_acquire);
  for (;;) {  // another round only after another step by somebody else
    const Step next = step(ParkWord{word});
    if (thread.word.compare_exchange_weak(word, next.next.raw, std::memory_order_seq_cst,
                                          std::memory_order_acquire)) {
      if (after != nullptr) *after = next.next;
      return next.enqueue;
    }
  }
}

// The same for a step from outside, which must meet the life that the handle names; stale
// otherwise, and no step.
template <class P, class StepFunction>
Error take_step_if_alive(Thread<P>& thread, u32 generation, StepFunction&& step,
                         bool& enqueue) noexcept {
  u64 word = thread.word.load(std::memory_order_acquire);
  for (;;) {
    if (!ParkWord{word}.alive(generation)) return Error::stale;
    const Step next = step(ParkWord{word});
    if (thread.word.compare_exchange_weak(word, next.next.raw, std::memory_order_seq_cst,
                                          std::memory_order_acquire)) {
      enqueue = next.enqueue;
      return Error::ok;
    }
  }
}

}  // namespace gvt::core
