// SPDX-License-Identifier: MIT
//
// wait_test.cpp - the hosted API's waits: park and unpark, sleep, join, cancel, each alone and
// against each other.
#include <gtest/gtest.h>
#include <gvthread/gvthread.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/support/runtime_modes.hpp"

namespace gvt {
namespace {

using namespace std::chrono_literals;

class WaitTest : public test::RuntimeModes {
 protected:
  // Spins on the OS thread until the runtime has counted that many waits.
  void await_parks(u64 parks) {
    while (runtime.stats().parks < parks) std::this_thread::yield();
  }
};
GVT_INSTANTIATE_MODES(WaitTest);

// ---- park and unpark ----

TEST_P(WaitTest, UnparkBeforeParkIsKept) {
  start();
  std::atomic<bool> unparked{false};
  const Handle h = spawn([&] {
    while (!unparked) yield();
    EXPECT_EQ(park(), Error::ok);
  });
  EXPECT_EQ(runtime.unpark(h), Error::ok);
  unparked = true;
  run();
  EXPECT_EQ(runtime.stats().parks, 0u);  // it never gave up its CPU
}

TEST_P(WaitTest, TwoUnparksAreOnePermit) {
  start();
  spawn([] {
    const Handle self = this_thread::id();
    EXPECT_EQ(unpark(self), Error::ok);
    EXPECT_EQ(unpark(self), Error::ok);
    EXPECT_EQ(park(1ms), Error::ok);
    EXPECT_EQ(park(1ms), Error::timed_out);
    EXPECT_EQ(unpark(self), Error::ok);
    EXPECT_EQ(park(), Error::ok);
  });
  run();
}

TEST_P(WaitTest, UnparkWakesAParkedThread) {
  start();
  for (u64 round = 0; round < 20; ++round) {
    const Handle sleeper = spawn([] { EXPECT_EQ(park(), Error::ok); });
    spawn([&, sleeper] {
      yield();
      EXPECT_EQ(unpark(sleeper), Error::ok);
    });
    run();
  }
}

TEST_P(WaitTest, UnparkFromAForeignOsThread) {
  start();
  const Handle sleeper = spawn([] {
    for (int i = 0; i < 10; ++i) EXPECT_EQ(park(), Error::ok);
  });
  std::thread foreign([&] {
    // A permit at a time: the next one when the last was consumed.
    for (u64 i = 1; i <= 10; ++i) {
      await_parks(i);
      EXPECT_EQ(runtime.unpark(sleeper), Error::ok);
    }
  });
  run();
  foreign.join();
}

TEST_P(WaitTest, UnparkAndCancelOfAStaleHandle) {
  start(1);
  const Handle old = spawn([] {});
  run();
  const Handle young = spawn([] { EXPECT_EQ(park(1ms), Error::timed_out); });
  EXPECT_EQ(old.id, young.id);
  for (const Handle bad : {old, Handle{}, Handle{0, young.generation + 1}, Handle{1, 1},
                           Handle{~0u, 1}, Handle{~0u, ~0u}}) {
    EXPECT_EQ(runtime.unpark(bad), Error::stale);
    EXPECT_EQ(runtime.cancel(bad), Error::stale);
  }
  run();
  EXPECT_EQ(runtime.unpark(young), Error::stale);
}

TEST_P(WaitTest, WhatTheUnparkerWroteIsVisible) {
  start();
  struct {
    u32 value = 0;  // written and read in turns, ordered by the permits alone
    Handle writer;
  } box;
  constexpr u32 kRounds = test::scaled(500);
  const Handle reader = spawn([&box] {
    for (u32 i = 1; i <= kRounds; ++i) {
      EXPECT_EQ(park(), Error::ok);
      EXPECT_EQ(box.value, i);
      EXPECT_EQ(unpark(box.writer), Error::ok);
    }
  });
  spawn([&box, reader] {
    box.writer = this_thread::id();
    for (u32 i = 1; i <= kRounds; ++i) {
      box.value = i;
      EXPECT_EQ(unpark(reader), Error::ok);
      EXPECT_EQ(park(), Error::ok);
    }
  });
  run();
}

TEST_P(WaitTest, ATimedParkEndsAtItsDeadlineNotBefore) {
  start();
  for (int i = 0; i < 8; ++i) {
    spawn([i] {
      const u64 deadline = now_ns() + 100'000u * static_cast<u64>(i);
      EXPECT_EQ(park(Deadline(deadline)), Error::timed_out);
      EXPECT_GE(now_ns(), deadline);
    });
  }
  run();
}

TEST_P(WaitTest, ATimedParkInThePast) {
  start();
  spawn([] {
    EXPECT_EQ(park(Deadline(0)), Error::timed_out);
    EXPECT_EQ(park(Deadline(1)), Error::timed_out);
    EXPECT_EQ(park(0ms), Error::timed_out);
    EXPECT_EQ(park(-5s), Error::timed_out);
    EXPECT_EQ(unpark(this_thread::id()), Error::ok);
    EXPECT_EQ(park(Deadline(0)), Error::ok);  // the permit first
  });
  run();
}

TEST_P(WaitTest, AnUnparkBeforeTheDeadline) {
  start();
  const Handle h = spawn([] { EXPECT_EQ(park(1h), Error::ok); });
  spawn([h] {
    (void)sleep_for(500us);
    EXPECT_EQ(unpark(h), Error::ok);
  });
  run();
}

// ---- sleep ----

TEST_P(WaitTest, SleepIsNeverShort) {
  start();
  for (int i = 0; i < 20; ++i) {
    spawn([i] {
      for (const auto d : {1ns, 1000ns, 50'000ns, 1'000'000ns}) {
        const u64 before = now_ns();
        EXPECT_EQ(sleep_for(d * (1 + i % 3)), Error::ok);
        EXPECT_GE(now_ns() - before, static_cast<u64>(d.count() * (1 + i % 3)));
      }
    });
  }
  run();
}

TEST_P(WaitTest, SleepInThePastLetsOthersRun) {
  start();
  std::atomic<bool> other{false};
  spawn([&] {
    while (!other) {
      EXPECT_EQ(sleep_for(0ms), Error::ok);
      EXPECT_EQ(sleep_for(-1h), Error::ok);
      EXPECT_EQ(sleep_until(Deadline(0)), Error::ok);
      EXPECT_EQ(sleep_until(std::chrono::steady_clock::now() - 1s), Error::ok);
    }
  });
  spawn([&] { other = true; });
  run();
}

TEST_P(WaitTest, SleepUntilATimePoint) {
  start();
  spawn([] {
    const auto when = std::chrono::steady_clock::now() + 2ms;
    EXPECT_EQ(sleep_until(when), Error::ok);
    EXPECT_GE(std::chrono::steady_clock::now(), when);
  });
  run();
}

TEST_P(WaitTest, SleepersWakeInTheOrderOfTheirDeadlines) {
  if (GetParam().workers > 1) GTEST_SKIP() << "an order among workers is not promised";
  start();
  std::vector<int> order;
  const u64 base = now_ns() + 3'000'000;
  for (const int i : {4, 1, 3, 0, 2}) {
    spawn([&, i] {
      EXPECT_EQ(sleep_until(Deadline(base + 300'000u * static_cast<u64>(i))), Error::ok);
      order.push_back(i);
    });
  }
  run();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_P(WaitTest, UnparkDoesNotEndASleepAndIsKept) {
  start();
  std::atomic<bool> unparked{false};
  const Handle h = spawn([&] {
    do {
      const u64 before = now_ns();
      EXPECT_EQ(sleep_for(2ms), Error::ok);
      EXPECT_GE(now_ns() - before, 2'000'000u);
    } while (!unparked);
    EXPECT_EQ(park(Deadline(0)), Error::ok);  // the permit
    EXPECT_EQ(park(Deadline(0)), Error::timed_out);
  });
  std::thread foreign([&] {
    await_parks(1);
    EXPECT_EQ(runtime.unpark(h), Error::ok);
    unparked = true;
  });
  run();
  foreign.join();
}

TEST(DeadlineTest, Conversions) {
  EXPECT_EQ(Deadline().ns(), kNever);
  EXPECT_EQ(Deadline::never().ns(), kNever);
  EXPECT_EQ(Deadline(5).ns(), 5u);
  const u64 before = now_ns();
  const u64 in_a_ms = Deadline(1ms).ns();
  EXPECT_GE(in_a_ms, before + 1'000'000);
  const u64 after = now_ns();
  EXPECT_LE(in_a_ms, after + 1'000'000);
  const u64 past[] = {Deadline(0ms).ns(), Deadline(-1ms).ns(),
                      Deadline(std::chrono::nanoseconds::min()).ns(),
                      Deadline(std::chrono::hours::min()).ns(),
                      Deadline(std::chrono::duration<double>(-1e30)).ns()};
  for (const u64 ns : past) {
    EXPECT_GE(ns, before);
    EXPECT_LE(ns, now_ns());
  }
  EXPECT_EQ(Deadline(std::chrono::hours::max()).ns(), kNever);
  EXPECT_GT(Deadline(std::chrono::nanoseconds::max()).ns(), before);
  EXPECT_EQ(Deadline(std::chrono::duration<double>(1e30)).ns(), kNever);
  EXPECT_GE(Deadline(std::chrono::duration<double>(0.5)).ns(), before + 500'000'000);
  EXPECT_EQ(Deadline(std::chrono::steady_clock::time_point(-5s)).ns(), 0u);
  EXPECT_EQ(Deadline(std::chrono::steady_clock::time_point(5ns)).ns(), 5u);
}

// ---- join ----

TEST_P(WaitTest, JoinBeforeAndAfterTheEnd) {
  start();
  std::atomic<u32> steps{0};
  const Handle target = spawn([&] {
    (void)sleep_for(500us);
    steps.fetch_add(1);
  });
  spawn([&, target] {
    EXPECT_EQ(join(target), Error::ok);
    EXPECT_EQ(steps.load(), 1u);
    EXPECT_EQ(join(target), Error::ok);  // it has ended: at once
    EXPECT_EQ(join(target, Deadline(0)), Error::ok);
  });
  run();
  EXPECT_EQ(runtime.join(target), Error::ok);
}

TEST_P(WaitTest, JoinOfAReusedSlotsOldThreadIsOk) {
  start(1);
  const Handle old = spawn([] {});
  run();
  for (int i = 0; i < 5; ++i) {
    spawn([old] { EXPECT_EQ(join(old), Error::ok); });
    EXPECT_EQ(runtime.join(old), Error::ok);
    run();
  }
}

TEST_P(WaitTest, JoinOfAHandleThatWasNeverIssued) {
  start(4);
  const Handle h = spawn([] {});
  run();
  for (const Handle bad : {Handle{}, Handle{h.id, h.generation + 1000}, Handle{3, 7}, Handle{4, 1},
                           Handle{~0u, 1}, Handle{2, 0}}) {
    EXPECT_EQ(runtime.join(bad), Error::stale) << bad.id;
    spawn([bad] { EXPECT_EQ(join(bad), Error::stale) << bad.id; });
    run();
  }
}

TEST_P(WaitTest, JoinOfItself) {
  start();
  spawn([] {
    EXPECT_EQ(join(this_thread::id()), Error::deadlock);
    EXPECT_EQ(join(this_thread::id(), Deadline(0)), Error::deadlock);
  });
  run();
}

TEST_P(WaitTest, JoinTimesOut) {
  start();
  const Handle target = spawn([] { EXPECT_EQ(park(), Error::ok); });
  spawn([target] {
    EXPECT_EQ(join(target, Deadline(0)), Error::timed_out);
    const u64 deadline = now_ns() + 500'000;
    EXPECT_EQ(join(target, Deadline(deadline)), Error::timed_out);
    EXPECT_GE(now_ns(), deadline);
    EXPECT_EQ(unpark(target), Error::ok);
    EXPECT_EQ(join(target, 1h), Error::ok);
  });
  run();
}

TEST_P(WaitTest, SeveralJoinersAndSomeTimeOut) {
  start();
  const Handle target = spawn([] { EXPECT_EQ(park(), Error::ok); });
  std::atomic<u32> joined{0};
  std::atomic<u32> timed_out{0};
  for (int i = 0; i < 10; ++i) {
    spawn([&, target, i] {
      const Error e = i % 2 == 0 ? join(target) : join(target, 100us * i);
      (e == Error::ok ? joined : timed_out).fetch_add(1);
      if (timed_out.load() == 5) (void)unpark(target);
    });
  }
  run();
  EXPECT_EQ(joined.load(), 5u);
  EXPECT_EQ(timed_out.load(), 5u);
}

TEST_P(WaitTest, JoinFromForeignOsThreads) {
  start();
  const Handle target = spawn([] { EXPECT_EQ(park(), Error::ok); });
  EXPECT_EQ(runtime.join(target, Deadline(0)), Error::timed_out);
  EXPECT_EQ(runtime.join(target, 200us), Error::timed_out);
  std::vector<std::thread> joiners;
  for (int i = 0; i < 4; ++i) {
    joiners.emplace_back([&, i] {
      EXPECT_EQ(i % 2 == 0 ? runtime.join(target) : runtime.join(target, 1h), Error::ok);
    });
  }
  EXPECT_EQ(runtime.unpark(target), Error::ok);
  run();
  for (auto& t : joiners) t.join();
  EXPECT_EQ(runtime.join(target), Error::ok);
}

TEST_P(WaitTest, ATimedJoinThatRacesTheEnd) {
  start();
  for (u64 i = 0; i < test::scaled(400); ++i) {
    const u64 when = now_ns() + 20'000 + i % 7 * 3'000;
    const Handle target = spawn([when] { (void)sleep_until(Deadline(when)); });
    for (u64 j = 0; j < 3; ++j) {
      spawn([=] {
        const Error e = join(target, Deadline(when + j * 2'000));
        EXPECT_TRUE(e == Error::ok || e == Error::timed_out) << error_name(e);
        // A wake that came too late must not end this wait.
        EXPECT_EQ(park(30us), Error::timed_out);
        EXPECT_EQ(sleep_for(1us), Error::ok);
      });
    }
    run();
  }
}

TEST_P(WaitTest, WhatTheThreadWroteIsVisibleAfterJoin) {
  start();
  for (u32 round = 0; round < 50; ++round) {
    u32 plain = 0;
    const Handle target = spawn([&] { plain = round + 1; });
    spawn([&, target] {
      EXPECT_EQ(join(target), Error::ok);
      EXPECT_EQ(plain, round + 1);
    });
    if (!GetParam().caller_is_worker) {
      EXPECT_EQ(runtime.join(target), Error::ok);
      EXPECT_EQ(plain, round + 1);
    }
    run();
  }
}

TEST_P(WaitTest, AChainOfJoins) {
  start();
  Handle previous{};
  std::vector<int> order;
  for (int i = 0; i < 30; ++i) {
    previous = spawn([&, i, previous] {
      if (previous) {
        EXPECT_EQ(join(previous), Error::ok);
      } else {
        (void)sleep_for(200us);
      }
      order.push_back(i);
    });
  }
  run();
  ASSERT_EQ(order.size(), 30u);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(order[static_cast<usize>(i)], i);
}

// ---- cancel ----

TEST_P(WaitTest, CancelEndsEachKindOfWait) {
  start();
  const Handle target = spawn([] { EXPECT_EQ(park(), Error::ok); });
  std::vector<Handle> waiters;
  waiters.push_back(spawn([] { EXPECT_EQ(park(), Error::cancelled); }));
  waiters.push_back(spawn([] { EXPECT_EQ(park(1h), Error::cancelled); }));
  waiters.push_back(spawn([] { EXPECT_EQ(sleep_for(1h), Error::cancelled); }));
  waiters.push_back(spawn([] { EXPECT_EQ(sleep_until(Deadline::never()), Error::cancelled); }));
  waiters.push_back(spawn([=] { EXPECT_EQ(join(target), Error::cancelled); }));
  waiters.push_back(spawn([=] { EXPECT_EQ(join(target, 1h), Error::cancelled); }));
  std::thread canceller([&] {
    await_parks(7);
    for (const Handle w : waiters) EXPECT_EQ(runtime.cancel(w), Error::ok);
    for (const Handle w : waiters) EXPECT_EQ(runtime.join(w), Error::ok);
    EXPECT_EQ(runtime.unpark(target), Error::ok);
  });
  run();
  canceller.join();
}

TEST_P(WaitTest, CancelIsStickyAndThePermitComesFirst) {
  start();
  const Handle target = spawn([] { (void)park(); });
  spawn([target] {
    const Handle self = this_thread::id();
    EXPECT_FALSE(this_thread::cancelled());
    EXPECT_EQ(unpark(self), Error::ok);
    EXPECT_EQ(cancel(self), Error::ok);
    EXPECT_EQ(cancel(self), Error::ok);
    EXPECT_TRUE(this_thread::cancelled());
    EXPECT_EQ(park(), Error::ok);  // the permit is not lost
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(park(), Error::cancelled);
      EXPECT_EQ(park(Deadline(0)), Error::cancelled);
      EXPECT_EQ(sleep_for(1h), Error::cancelled);
      EXPECT_EQ(sleep_for(-1s), Error::cancelled);
      EXPECT_EQ(join(target), Error::cancelled);
      yield();
    }
    EXPECT_EQ(unpark(self), Error::ok);
    EXPECT_EQ(park(), Error::ok);  // a later permit too
    EXPECT_EQ(unpark(target), Error::ok);
  });
  run();
}

TEST_P(WaitTest, AJoinOfAnEndedThreadIsOkEvenIfCancelled) {
  start();
  const Handle ended = spawn([] {});
  run();
  spawn([ended] {
    EXPECT_EQ(cancel(this_thread::id()), Error::ok);
    EXPECT_EQ(join(ended), Error::ok);
  });
  run();
}

TEST_P(WaitTest, CancelBeforeTheFirstDispatch) {
  start();
  std::atomic<bool> go_on{false};
  const Handle h = spawn([&] {
    while (!go_on) yield();
    EXPECT_TRUE(this_thread::cancelled());
    EXPECT_EQ(park(), Error::cancelled);
  });
  EXPECT_EQ(runtime.cancel(h), Error::ok);
  go_on = true;
  run();
}

TEST_P(WaitTest, TheNextTenantIsNotCancelled) {
  start(1);
  for (int i = 0; i < 5; ++i) {
    const Handle h = spawn([] {
      EXPECT_FALSE(this_thread::cancelled());
      EXPECT_EQ(unpark(this_thread::id()), Error::ok);  // left behind, unused
      EXPECT_EQ(cancel(this_thread::id()), Error::ok);
    });
    (void)h;
    run();
    spawn([] {
      EXPECT_FALSE(this_thread::cancelled());
      EXPECT_EQ(park(50us), Error::timed_out);
    });
    run();
  }
}

// A late timer of an earlier wait must not end a later one.
TEST_P(WaitTest, AnOldTimerDoesNotEndALaterWait) {
  start();
  const Handle h = spawn([] {
    for (int i = 0; i < 20; ++i) {
      const Error e = park(300us);  // ok, unless the machine is busy
      EXPECT_TRUE(e == Error::ok || e == Error::timed_out);
      const u64 before = now_ns();
      EXPECT_EQ(sleep_for(400us), Error::ok);
      EXPECT_GE(now_ns() - before, 400'000u);
    }
  });
  spawn([h] {
    while (unpark(h) == Error::ok) yield();
  });
  run();
}

}  // namespace
}  // namespace gvt
