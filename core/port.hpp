// SPDX-License-Identifier: MIT
//
// port.hpp - what the kernel asks of the machine and the system: one type, all static functions.
// The shipped library, the simulation and the explorer each supply one; core has no #ifdef for
// them. How to write one: docs/architecture.md, "Ports". Source: concepts in place of virtual
// functions.
#pragma once

#include <atomic>
#include <concepts>

#include "core/types.hpp"

namespace gvt::core {

// The first function on a new stack; gets the worker that runs it.
using Entry = void (*)(void* worker);

template <class P>
concept Port = requires(typename P::template Atomic<u32>& word, typename P::Context& context,
                        typename P::Fiber& fiber, void* stack, u64 ns, Entry entry) {
  // CPU and operating system.
  { P::pause() } noexcept -> std::same_as<void>;       // a hint inside a spin loop
  { P::relinquish() } noexcept -> std::same_as<void>;  // let another OS thread have this CPU
  { P::now_ns() } noexcept -> std::same_as<u64>;       // monotonic, never decreases
  // Sleep while word == expected, at most to the deadline. May return early, never sleeps on a
  // changed word.
  { P::wait(word, u32{0}, ns) } noexcept -> std::same_as<void>;
  { P::wake(word) } noexcept -> std::same_as<void>;  // end one wait on the word, if there is one
  // The worker of the calling OS thread, null on a foreign one. Never cached across a switch.
  { P::current() } noexcept -> std::same_as<void*>;
  { P::set_current(stack) } noexcept -> std::same_as<void>;
  // Contexts. make_context prepares one that starts entry on the stack that ends at `stack`.
  // switch_context saves the caller's, resumes the other, and returns the argument of whoever
  // resumes the caller. It must save what the ABI calls callee-saved, floating-point control
  // included; reset_fpu gives the running context that of a new one.
  { P::make_context(context, stack, entry) } noexcept -> std::same_as<void>;
  { P::switch_context(context, context, stack) } noexcept -> std::same_as<void*>;
  { P::reset_fpu() } noexcept -> std::same_as<void>;
  { P::prefetch_context(context) } noexcept -> std::same_as<void>;  // a hint; may meet any content
  { P::stack_pointer(context) } noexcept -> std::same_as<void*>;    // of a saved context
  // What sanitizers must be told of stacks; empty in ordinary builds. leave and enter enclose each
  // switch.
  { P::fiber_adopt(fiber) } noexcept -> std::same_as<void>;  // the OS thread's own stack
  { P::fiber_create(fiber, stack, usize{0}) } noexcept -> std::same_as<void>;  // lowest byte, size
  // From an ended thread to the next on its stack.
  { P::fiber_move(fiber, fiber) } noexcept -> std::same_as<void>;
  { P::fiber_destroy(fiber) } noexcept -> std::same_as<void>;
  // From, to, from never resumes.
  { P::fiber_leave(fiber, fiber, true) } noexcept -> std::same_as<void>;
  { P::fiber_enter(fiber) } noexcept -> std::same_as<void>;
};

// The stacks' memory: one object per runtime, made by the platform before the kernel starts. There
// are as many stack slots as control blocks. Guards come in batches, either when control blocks are
// first used (admit: where the kernel may refuse one, so that spawn can say so) or when stacks are
// (prepare: where it can't, so that unused stacks cost nothing).
template <class M>
concept StackMemory =
    requires(M& m, const M& cm, u32 first, u32 count, const u32* slots, const void* stack) {
      // End of the slot, 16-byte aligned; lowest usable byte, above the guard; a byte of that
      // stack.
      { cm.top(first) } noexcept -> std::same_as<std::byte*>;
      { cm.bottom(first) } noexcept -> std::same_as<std::byte*>;
      { cm.holds(first, stack) } noexcept -> std::same_as<bool>;
      // How many more threads may exist, and how many of these stacks are usable: <= count.
      { m.admit(first, count) } noexcept -> std::same_as<u32>;
      { m.prepare(first, count) } noexcept -> std::same_as<u32>;
      // Gives the pages of these stacks back.
      { m.discard(slots, count) } noexcept -> std::same_as<void>;
    };

}  // namespace gvt::core
