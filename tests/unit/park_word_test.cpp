// SPDX-License-Identifier: MIT
//
// park_word_test.cpp - core/park_word.hpp: every reachable word with every step, and every
// interleaving of waits with those that end them (tests/support/wait_explorer.hpp). Mutants of the
// steps show that the exploration finds what it looks for.
#include "core/park_word.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/support/wait_explorer.hpp"

namespace gvt::core {
namespace {

using test::Protocol;
using test::Scenario;
using test::Wait;
using test::WaitExplorer;

constexpr ParkWord kFresh{};
constexpr ParkWord kActive = step_spawn(kFresh).next;

// ---- single steps ----

TEST(ParkWord, AFreshSlotGetsGenerationOne) {
  EXPECT_EQ(kFresh.phase(), Phase::free);
  EXPECT_EQ(kActive.phase(), Phase::active);
  EXPECT_EQ(kActive.generation(), 1u);
  EXPECT_TRUE(kActive.alive(1));
  EXPECT_FALSE(kActive.alive(0));
  EXPECT_FALSE(kActive.alive(2));
  EXPECT_FALSE(kFresh.alive(0));
}

TEST(ParkWord, EachLifeHasTheNextGeneration) {
  ParkWord w = kActive;
  for (u32 g = 1; g < 10; ++g) {
    EXPECT_EQ(w.generation(), g);
    w = step_exit(w).next;
    EXPECT_EQ(w.phase(), Phase::free);
    EXPECT_FALSE(w.alive(g));
    EXPECT_FALSE(w.alive(g + 1));
    w = step_spawn(w).next;
    EXPECT_TRUE(w.alive(g + 1));
  }
}

TEST(ParkWord, TheGenerationSkipsZero) {
  const ParkWord last{(u64{~u32{0}} << ParkWord::kGenerationShift) |
                      static_cast<u64>(Phase::active)};
  EXPECT_EQ(last.generation(), ~u32{0});
  const ParkWord next = step_exit(last).next;
  EXPECT_EQ(next.generation(), 1u);
  EXPECT_EQ(step_spawn(next).next.generation(), 1u);
}

TEST(ParkWord, ANewLifeInheritsNoFlag) {
  for (u64 low = 0; low < 1024; ++low) {
    const ParkWord w{(u64{7} << ParkWord::kGenerationShift) | low};
    EXPECT_EQ(step_exit(w).next.raw, u64{8} << ParkWord::kGenerationShift);
    EXPECT_EQ(step_spawn(w).next.raw, (u64{7} << ParkWord::kGenerationShift) | 1u);
  }
}

TEST(ParkWord, UnparkBeforeParkIsAPermit) {
  const Step unparked = step_unpark(kActive);
  EXPECT_FALSE(unparked.enqueue);
  EXPECT_TRUE(unparked.next.has(ParkWord::kPermit));
  const Step parked = step_prepare(unparked.next, WaitKind::park);
  EXPECT_EQ(parked.next.phase(), Phase::active);
  EXPECT_EQ(parked.next.ended(), Ended::permit);
  EXPECT_FALSE(parked.next.has(ParkWord::kPermit));
}

TEST(ParkWord, TwoUnparksAreOnePermit) {
  const ParkWord twice = step_unpark(step_unpark(kActive).next).next;
  const ParkWord first = step_prepare(twice, WaitKind::park).next;
  EXPECT_EQ(first.phase(), Phase::active);
  EXPECT_EQ(step_prepare(first, WaitKind::park).next.phase(), Phase::parking);
}

TEST(ParkWord, ThePermitComesFirstThenTheCancel) {
  const ParkWord both = step_cancel(step_unpark(kActive).next).next;
  const ParkWord first = step_prepare(both, WaitKind::park).next;
  EXPECT_EQ(first.ended(), Ended::permit);
  const ParkWord second = step_prepare(first, WaitKind::park).next;
  EXPECT_EQ(second.ended(), Ended::cancel);
  EXPECT_EQ(second.phase(), Phase::active);
  const ParkWord third = step_prepare(second, WaitKind::park).next;
  EXPECT_EQ(third.ended(), Ended::cancel);  // sticky
}

TEST(ParkWord, AnObjectWaitKeepsThePermit) {
  const ParkWord permit = step_unpark(kActive).next;
  const ParkWord waiting = step_prepare(permit, WaitKind::object).next;
  EXPECT_EQ(waiting.phase(), Phase::parking);
  EXPECT_TRUE(waiting.has(ParkWord::kPermit));
  const ParkWord woken = step_wake(waiting).next;
  EXPECT_TRUE(woken.has(ParkWord::kPermit));
  EXPECT_EQ(step_prepare(woken, WaitKind::park).next.ended(), Ended::permit);
}

TEST(ParkWord, UnparkDoesNotEndAnObjectWait) {
  const ParkWord parked = step_commit(step_prepare(kActive, WaitKind::object).next).next;
  const Step unparked = step_unpark(parked);
  EXPECT_FALSE(unparked.enqueue);
  EXPECT_EQ(unparked.next.phase(), Phase::parked);
  EXPECT_TRUE(unparked.next.has(ParkWord::kPermit));
}

TEST(ParkWord, TheWaitForAnOwedWakeIgnoresCancelAndPermit) {
  const ParkWord both = step_cancel(step_unpark(kActive).next).next;
  const ParkWord waiting = step_prepare(both, WaitKind::uncancelled).next;
  EXPECT_EQ(waiting.phase(), Phase::parking);
  EXPECT_EQ(step_cancel(waiting).next.phase(), Phase::parking);
  EXPECT_EQ(step_unpark(waiting).next.phase(), Phase::parking);
  EXPECT_EQ(step_wake(waiting).next.ended(), Ended::wake);
  const ParkWord early = step_wake(both).next;
  EXPECT_TRUE(early.has(ParkWord::kWoken));
  const ParkWord met = step_prepare(early, WaitKind::uncancelled).next;
  EXPECT_EQ(met.phase(), Phase::active);
  EXPECT_EQ(met.ended(), Ended::wake);
  EXPECT_FALSE(met.has(ParkWord::kWoken));
}

TEST(ParkWord, AbortKeepsTheReasonOfWhoeverWasFaster) {
  const ParkWord parking = step_prepare(kActive, WaitKind::park).next;
  EXPECT_EQ(step_abort(parking, Ended::cancel).next.ended(), Ended::cancel);
  EXPECT_EQ(step_abort(parking, Ended::cancel).next.phase(), Phase::active);
  const ParkWord unparked = step_unpark(parking).next;
  EXPECT_EQ(step_abort(unparked, Ended::cancel).next, unparked);
}

// ---- every reachable word, every step ----

std::set<u64> reachable_words() {
  std::set<u64> seen{kFresh.raw};
  std::vector<ParkWord> todo{kFresh};
  const auto visit = [&](ParkWord w) {
    if (w.generation() <= 2 && seen.insert(w.raw).second) todo.push_back(w);
  };
  while (!todo.empty()) {
    const ParkWord w = todo.back();
    todo.pop_back();
    switch (w.phase()) {
      case Phase::free: visit(step_spawn(w).next); continue;  // all else is refused as stale
      case Phase::active:
        for (const WaitKind k : {WaitKind::park, WaitKind::object, WaitKind::uncancelled})
          visit(step_prepare(w, k).next);
        visit(step_exit(w).next);
        break;
      case Phase::parking:
        visit(step_abort(w, Ended::cancel).next);
        visit(step_commit(w).next);
        break;
      case Phase::parked: break;
    }
    visit(step_unpark(w).next);
    visit(step_wake(w).next);
    visit(step_timeout(w).next);
    visit(step_cancel(w).next);
    visit({w.raw | ParkWord::kJoined});
  }
  return seen;
}

TEST(ParkWordExhaustive, EveryStepOnEveryReachableWord) {
  const std::set<u64> words = reachable_words();
  EXPECT_GT(words.size(), 200u);
  const u64 sticky = ParkWord::kCancelled | ParkWord::kJoined;
  for (const u64 raw : words) {
    const ParkWord w{raw};
    if (w.phase() == Phase::free) {
      EXPECT_EQ(raw & 0xffffffff, 0u);  // nothing is left of a life
      continue;
    }
    // INV-WAIT-1: a wait's conditions exist only while it lasts.
    if (!w.waiting()) {
      EXPECT_FALSE(w.has(ParkWord::kEndsOnPermit) || w.has(ParkWord::kEndsOnCancel)) << raw;
    }
    // No wait goes on that should have ended.
    if (w.waiting() && w.has(ParkWord::kEndsOnCancel)) {
      EXPECT_FALSE(w.has(ParkWord::kCancelled)) << raw;
    }
    if (w.waiting() && w.has(ParkWord::kEndsOnPermit)) {
      EXPECT_FALSE(w.has(ParkWord::kPermit)) << raw;
    }
    const struct {
      Step step;
      Ended why;
      bool ends;
    } enders[] = {
        {step_unpark(w), Ended::permit, w.waiting() && w.has(ParkWord::kEndsOnPermit)},
        {step_wake(w), Ended::wake, w.waiting()},
        {step_timeout(w), Ended::timeout, w.waiting()},
        {step_cancel(w), Ended::cancel, w.waiting() && w.has(ParkWord::kEndsOnCancel)},
    };
    for (const auto& e : enders) {
      EXPECT_EQ(e.step.next.generation(), w.generation());
      EXPECT_EQ(e.step.next.raw & raw & sticky, raw & sticky) << "a sticky flag was lost";
      // INV-WAKE-1: enqueued by whoever ends the wait of a parked thread, and by nobody else.
      EXPECT_EQ(e.step.enqueue, e.ends && w.phase() == Phase::parked) << raw;
      if (e.ends) {
        EXPECT_EQ(e.step.next.phase(), Phase::active);
        EXPECT_EQ(e.step.next.ended(), e.why);
      } else {
        EXPECT_EQ(e.step.next.phase(), w.phase());
      }
    }
    if (!w.waiting()) {
      EXPECT_TRUE(step_unpark(w).next.has(ParkWord::kPermit));  // INV-PARK-1
      EXPECT_TRUE(step_wake(w).next.has(ParkWord::kWoken));
      EXPECT_EQ(step_timeout(w).next, w);  // INV-TMR-3
    }
    EXPECT_TRUE(step_cancel(w).next.has(ParkWord::kCancelled));
    if (w.phase() == Phase::parking) {
      EXPECT_EQ(step_commit(w).next.phase(), Phase::parked);
      EXPECT_FALSE(step_commit(w).enqueue);
    }
    if (w.phase() == Phase::active) {  // its wait has ended on the way: the commit enqueues it
      EXPECT_EQ(step_commit(w).next, w);
      EXPECT_TRUE(step_commit(w).enqueue);
    }
  }
}

// ---- interleavings ----

std::vector<Scenario> scenarios() {
  std::vector<Wait> kinds;
  for (const WaitKind k : {WaitKind::park, WaitKind::object})
    for (const bool timed : {false, true}) kinds.push_back({k, timed});
  std::vector<std::vector<Wait>> programs;
  for (const Wait& a : kinds) {
    programs.push_back({a});
    for (const Wait& b : kinds) {
      programs.push_back({a, b});
      for (const Wait& c : kinds) programs.push_back({a, b, c});
    }
  }
  std::vector<Scenario> all;
  for (const auto& waits : programs)
    for (u8 unparkers = 0; unparkers <= 2; ++unparkers)
      for (u8 cancels = 0; cancels <= 1; ++cancels)
        all.push_back({waits, unparkers, static_cast<u8>(waits.size() < 3 ? 2 : 1), cancels});
  return all;
}

std::string first_broken(const Protocol& protocol, usize* states = nullptr) {
  for (const Scenario& s : scenarios()) {
    WaitExplorer explorer(protocol, s);
    const std::string broken = explorer.run();
    if (states != nullptr) *states += explorer.states();
    if (!broken.empty()) return broken;
  }
  return "";
}

TEST(ParkWordExplored, NothingIsLostAndNothingIsDoubled) {
  usize states = 0;
  EXPECT_EQ(first_broken({}, &states), "");
  EXPECT_GT(states, 10'000u);
  std::printf("  states: %zu\n", states);
}

// Explorations that must find something, each with the trap it stands for.

TEST(Trap, ParkedPublishedBeforeRegistersSaved) {
  Protocol wrong;
  wrong.prepare = [](ParkWord w, WaitKind k) {
    Step s = step_prepare(w, k);
    if (s.next.phase() == Phase::parking) s.next.raw |= static_cast<u64>(Phase::parked);
    return s;
  };
  wrong.commit = [](ParkWord w) { return Step{w}; };
  EXPECT_EQ(first_broken(wrong), "enqueued while its stack runs");
}

TEST(Trap, WakeAsCheckThenSet) {
  Protocol wrong;
  wrong.unpark_in_two_steps = true;
  EXPECT_NE(first_broken(wrong), "");
}

TEST(Trap, StateReadAgainAfterTheSwitch) {
  Protocol wrong;
  wrong.enqueue_again_after_run = true;
  EXPECT_NE(first_broken(wrong), "");
}

TEST(Trap, SleeperInHeapBeforeParking) {
  Protocol wrong;
  wrong.arm_before_prepare = true;
  EXPECT_EQ(first_broken(wrong), "a time-out was lost");
}

TEST(ParkWordExplored, FindsAWakerThatEnqueuesAParkingThread) {
  Protocol wrong;
  wrong.unpark = [](ParkWord w) {
    Step s = step_unpark(w);
    s.enqueue = w.waiting() && s.next.phase() == Phase::active;
    return s;
  };
  EXPECT_EQ(first_broken(wrong), "enqueued while its stack runs");
}

TEST(ParkWordExplored, FindsACommitThatForgetsTheWake) {
  Protocol wrong;
  wrong.commit = [](ParkWord w) {
    return Step{{w.raw | (w.phase() == Phase::parking ? u64{3} : u64{0})}, false};
  };
  EXPECT_NE(first_broken(wrong), "");
}

TEST(ParkWordExplored, FindsAPermitThatIsDropped) {
  Protocol wrong;
  wrong.unpark = [](ParkWord w) {
    const Step s = step_unpark(w);
    return w.waiting() ? s : Step{w};
  };
  EXPECT_EQ(first_broken(wrong), "a permit was lost");
}

TEST(ParkWordExplored, FindsACancelThatIsDropped) {
  Protocol wrong;
  wrong.prepare = [](ParkWord w, WaitKind k) {
    return step_prepare({w.raw & ~ParkWord::kCancelled}, k);
  };
  EXPECT_EQ(first_broken(wrong), "a cancel was lost");
}

TEST(ParkWordExplored, FindsAWakeThatMeetsALaterWait) {
  Protocol wrong;
  wrong.forget_owed_wake = true;
  EXPECT_EQ(first_broken(wrong), "a wake ended a wait that it was not for");
}

TEST(ParkWordExplored, FindsATimerThatMeetsALaterWait) {
  Protocol wrong;
  wrong.forget_disarm = true;
  EXPECT_NE(first_broken(wrong), "");
}

}  // namespace
}  // namespace gvt::core
