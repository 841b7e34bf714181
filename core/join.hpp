// SPDX-License-Identifier: MIT
//
// join.hpp - who waits for a thread's end: nodes on the waiters' own stacks, in a list under the
// target's join_lock. The exit takes the whole list; a waiter that gives up takes its own node out,
// unless the exit was faster. Invariants: INV-JOIN-1, INV-WAIT-1. Tests:
// tests/unit/runtime_test.cpp, tests/stress/.
#pragma once

#include "core/thread.hpp"

namespace gvt::core {

// One wait for a thread's end, on the stack of whoever waits.
template <class P>
struct Joiner {
  Joiner* next = nullptr;
  Thread<P>* thread = nullptr;  // who waits; null: a foreign OS thread, on `ended`
  void* home = nullptr;         // the thread's scheduler, which may not be the target's
  bool taken = false;           // by the exit; guarded by the target's join_lock
  typename P::template Atomic<u32> ended{0};
};

// False when that life has ended.
template <class P>
bool add_joiner(Thread<P>& target, Cold<P>& cold, u32 generation, Joiner<P>& joiner) noexcept {
  LockGuard<P> guard(target.join_lock);
  bool enqueue = false;
  const auto mark = [](ParkWord w) noexcept { return Step{{w.raw | ParkWord::kJoined}}; };
  if (take_step_if_alive(target, generation, mark, enqueue) != Error::ok) return false;
  joiner.next = cold.joiners;
  cold.joiners = &joiner;
  return true;
}

// False when the target's exit has taken the joiner, and wakes it.
template <class P>
bool remove_joiner(Thread<P>& target, Cold<P>& cold, Joiner<P>& joiner) noexcept {
  LockGuard<P> guard(target.join_lock);
  if (joiner.taken) return false;
  Joiner<P>** link = &cold.joiners;
  while (*link != &joiner) link = &(*link)->next;  // at most as many as joiners of this thread
  *link = joiner.next;
  return true;
}

// By the exit: the list, whose nodes live until each is woken.
template <class P>
Joiner<P>* take_joiners(Thread<P>& target, Cold<P>& cold) noexcept {
  LockGuard<P> guard(target.join_lock);
  Joiner<P>* first = cold.joiners;
  cold.joiners = nullptr;
  for (Joiner<P>* j = first; j != nullptr; j = j->next) j->taken = true;
  return first;
}

}  // namespace gvt::core
