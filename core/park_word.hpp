// SPDX-License-Identifier: MIT
//
// park_word.hpp - the state of a thread in one word, and every step that it can take, as pure
// functions. The kernel applies a step with one compare-exchange; the model and the tests enumerate
// the steps. Invariants: INV-PARK-1, INV-WAKE-1, INV-WAIT-1, INV-SLOT-1, INV-CTX-1. Model:
// model/spec.hpp. Tests: tests/unit/park_word_test.cpp.
//
//            spawn              prepare              commit (after the switch)
//     Free ---------> Active <-----------> Parking ------------------------> Parked
//      ^                | ^     abort, or     |                                |
//      +----- exit -----+ +----- ended -------+------ ended, and enqueue ------+
//
// "Ended" is a permit, a wake, a time-out or a cancel. Active covers ready and running: which of
// the two is known to the worker or queue that holds the thread, and needs no atomic step at a
// yield. A thread in Parking still runs on its stack, so whoever ends that wait must not enqueue
// it: the step "commit", taken when the stack is quiet, finds the wait ended and enqueues the
// thread itself.
#pragma once

#include "core/types.hpp"

namespace gvt::core {

enum class Phase : u8 { free = 0, active = 1, parking = 2, parked = 3 };

// What ended the last wait.
enum class Ended : u8 { permit = 0, wake = 1, timeout = 2, cancel = 3 };

// Which events end a wait. A wake by the object that is waited on, and a deadline, always may.
enum class WaitKind : u8 {
  park,         // permit or cancel: the user's park()
  object,       // cancel: join, and what will be built like it
  uncancelled,  // neither: a wake that is already on its way
};

struct ParkWord {
  // Bits: 0-1 phase, 2-3 what ended the last wait, then flags; the generation is the upper half.
  static constexpr u64 kPhaseMask = 3;
  static constexpr u32 kEndedShift = 2;
  static constexpr u64 kEndedMask = u64{3} << kEndedShift;
  static constexpr u64 kEndsOnPermit = 1 << 4;
  static constexpr u64 kEndsOnCancel = 1 << 5;
  static constexpr u64 kPermit = 1 << 6;  // one unpark not yet consumed
  static constexpr u64 kWoken = 1 << 7;   // one wake that came after its wait had ended otherwise
  static constexpr u64 kCancelled = 1 << 8;  // sticky
  static constexpr u64 kJoined = 1 << 9;     // somebody waits for the thread's end
  static constexpr u32 kGenerationShift = 32;
  static constexpr u64 kWaitMask = kPhaseMask | kEndedMask | kEndsOnPermit | kEndsOnCancel;

  u64 raw = 0;

  constexpr Phase phase() const noexcept { return static_cast<Phase>(raw & kPhaseMask); }
  constexpr Ended ended() const noexcept {
    return static_cast<Ended>((raw & kEndedMask) >> kEndedShift);
  }
  constexpr bool has(u64 flag) const noexcept { return (raw & flag) != 0; }
  constexpr u32 generation() const noexcept { return static_cast<u32>(raw >> kGenerationShift); }
  constexpr bool waiting() const noexcept { return (raw & 2) != 0; }  // Parking or Parked
  constexpr bool alive(u32 generation_wanted) const noexcept {
    return phase() != Phase::free && generation() == generation_wanted;
  }
  friend constexpr bool operator==(ParkWord, ParkWord) noexcept = default;
};

// A step from one word to the next. `enqueue`: the thread became ready by this step and whoever
// takes the step must put it into a ready queue; of all concurrent steps on one wait exactly one
// says so. [INV-WAKE-1]
struct Step {
  ParkWord next;
  bool enqueue = false;
};

namespace detail {
constexpr ParkWord end_wait(ParkWord w, Ended why) noexcept {
  return {(w.raw & ~ParkWord::kWaitMask) | static_cast<u64>(Phase::active) |
          (static_cast<u64>(why) << ParkWord::kEndedShift)};
}
}  // namespace detail

// Free -> Active, a new life. The generation was set when the last one ended; fresh memory is zero.
constexpr Step step_spawn(ParkWord w) noexcept {
  const u64 generation = w.generation() == 0 ? 1 : w.generation();
  return {{(generation << ParkWord::kGenerationShift) | static_cast<u64>(Phase::active)}};
}

// Active -> Free with the next generation; 0 is skipped, it means "no thread". [INV-SLOT-1]
constexpr Step step_exit(ParkWord w) noexcept {
  const u32 next = w.generation() + 1;
  return {{u64{next == 0 ? 1 : next} << ParkWord::kGenerationShift}};
}

// The thread is about to wait. Stays Active (with `ended` saying why) when the wait is over before
// it began: a permit is consumed first, so that a cancel does not lose it; then a cancel counts.
// [INV-PARK-1]
constexpr Step step_prepare(ParkWord w, WaitKind kind) noexcept {
  if (kind == WaitKind::park && w.has(ParkWord::kPermit)) {
    return {detail::end_wait({w.raw & ~ParkWord::kPermit}, Ended::permit)};
  }
  if (kind != WaitKind::uncancelled && w.has(ParkWord::kCancelled)) {
    return {detail::end_wait(w, Ended::cancel)};
  }
  if (kind == WaitKind::uncancelled && w.has(ParkWord::kWoken)) {
    return {detail::end_wait({w.raw & ~ParkWord::kWoken}, Ended::wake)};
  }
  u64 next = (w.raw & ~ParkWord::kWaitMask) | static_cast<u64>(Phase::parking);
  if (kind == WaitKind::park) next |= ParkWord::kEndsOnPermit;
  if (kind != WaitKind::uncancelled) next |= ParkWord::kEndsOnCancel;
  return {{next}};
}

// The waiting thread's stack is quiet. Parking -> Parked; a wait that has ended meanwhile is
// enqueued here, because whoever ended it could not. [INV-CTX-1, INV-PARK-1]
constexpr Step step_commit(ParkWord w) noexcept {
  if (w.phase() == Phase::parking) return {{w.raw | static_cast<u64>(Phase::parked)}};
  return {w, true};
}

// Somebody gives the thread its permit. At most one is held. [INV-PARK-1]
constexpr Step step_unpark(ParkWord w) noexcept {
  if (w.waiting() && w.has(ParkWord::kEndsOnPermit)) {
    return {detail::end_wait(w, Ended::permit), w.phase() == Phase::parked};
  }
  return {{w.raw | ParkWord::kPermit}};
}

// The object that the thread waits on lets it go: once per wait that was registered with it. One
// that comes after a time-out or a cancel is kept for the waiter, which knows that it is owed.
// [INV-WAIT-1]
constexpr Step step_wake(ParkWord w) noexcept {
  if (w.waiting()) return {detail::end_wait(w, Ended::wake), w.phase() == Phase::parked};
  return {{w.raw | ParkWord::kWoken}};
}

// The deadline has passed. A wait that has ended otherwise is left alone. [INV-TMR-3]
constexpr Step step_timeout(ParkWord w) noexcept {
  if (!w.waiting()) return {w};
  return {detail::end_wait(w, Ended::timeout), w.phase() == Phase::parked};
}

// Sticky: ends the present wait if it can be cancelled, and each later one before it begins.
constexpr Step step_cancel(ParkWord w) noexcept {
  const ParkWord marked{w.raw | ParkWord::kCancelled};
  if (w.waiting() && w.has(ParkWord::kEndsOnCancel)) {
    return {detail::end_wait(marked, Ended::cancel), w.phase() == Phase::parked};
  }
  return {marked};
}

// Before the switch the thread changes its mind; a wait that somebody has ended keeps its reason.
constexpr Step step_abort(ParkWord w, Ended why) noexcept {
  if (w.phase() == Phase::parking) return {detail::end_wait(w, why)};
  return {w};
}

static_assert((static_cast<u64>(Phase::parking) | static_cast<u64>(Phase::parked)) == 3,
              "commit turns parking into parked by or-ing");

}  // namespace gvt::core
