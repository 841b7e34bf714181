// SPDX-License-Identifier: MIT
//
// schedule_stress_test.cpp - yields, sleeps and migration: stacks and identities stay whole, no
// sleeper is early or forgotten, no ready thread waits behind a hog while a worker is idle.
#include <cstring>

#include "tests/support/proc.hpp"
#include "tests/support/stress.hpp"

namespace gvt::test {
namespace {

using namespace std::chrono_literals;

class ScheduleStress : public StressTest {};
GVT_INSTANTIATE_STRESS(ScheduleStress);

TEST_P(ScheduleStress, SleepsOfOneMicrosecond) {
  constexpr u32 kThreads = 100;
  constexpr u32 kSleeps = scaled(400);
  start(kThreads);
  for (u32 t = 0; t < kThreads; ++t) {
    spawn([] {
      for (u32 i = 0; i < kSleeps; ++i) {
        const u64 before = now_ns();
        EXPECT_EQ(sleep_for(1us), Error::ok);
        EXPECT_GE(now_ns(), before + 1000);
      }
    });
  }
  run();
}

// One sleeper, all workers idle: whoever keeps its deadline must not forget it.
TEST_P(ScheduleStress, ALoneSleeper) {
  const u32 sleeps = scaled(2000);
  start(4);
  spawn([&] {
    Random r = random(0);
    for (u32 i = 0; i < sleeps; ++i)
      EXPECT_EQ(sleep_for(std::chrono::nanoseconds(r.below(60'000))), Error::ok);
  });
  run();
}

// Sleepers with nested deadlines on all workers: an earlier one than the kept one comes again and
// again.
TEST_P(ScheduleStress, EarlierDeadlinesThanTheKeptOne) {
  const u32 rounds = scaled(400);
  start(64);
  for (u32 t = 0; t < 8; ++t) {
    spawn([&, t] {
      Random r = random(t);
      for (u32 i = 0; i < rounds; ++i) {
        const u64 when = now_ns() + (u64{200'000} >> r.below(9));
        EXPECT_EQ(sleep_until(Deadline(when)), Error::ok);
        EXPECT_GE(now_ns(), when);
      }
    });
  }
  run();
}

TEST_P(ScheduleStress, StacksAndIdentitiesSurviveMigration) {
  constexpr u32 kThreads = 60;
  const u32 yields = scaled(3000);
  start(kThreads);
  std::atomic<u64> moves{0};
  for (u32 t = 0; t < kThreads; ++t) {
    spawn([&, t] {
      Random r = random(t);
      const Handle self = this_thread::id();
      volatile u64 frame[32];
      for (u32 i = 0; i < 32; ++i) frame[i] = u64{t} << 32 | i;
      double sum = 0;
      u32 tid = own_tid();
      for (u32 i = 0; i < yields; ++i) {
        if (r.one_in(50)) spin(r.below(10'000));
        if (r.one_in(40)) {
          (void)sleep_for(1us);
        } else {
          yield();
        }
        sum += 0.5;
        const u32 now = own_tid();
        if (now != tid) moves.fetch_add(1);
        tid = now;
      }
      EXPECT_EQ(this_thread::id(), self);
      EXPECT_EQ(sum, 0.5 * yields);
      for (u32 i = 0; i < 32; ++i) EXPECT_EQ(frame[i], u64{t} << 32 | i);
    });
  }
  run();
  if (GetParam().workers == 1) {
    EXPECT_EQ(moves.load(), 0u);
  }
}

// More threads than all local queues hold.
TEST_P(ScheduleStress, OverflowingQueues) {
  const u32 threads = scaled_threads(3000);
  start(threads);
  std::atomic<u64> yields{0};
  for (u32 t = 0; t < threads; ++t) {
    spawn([&] {
      for (u32 i = 0; i < 30; ++i) {
        yield();
        yields.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  run();
  EXPECT_EQ(yields.load(), u64{threads} * 30);
}

// Two threads that yield to each other, then one computes for ever: an idle worker must take the
// other. "For ever" ends when the other has run, or after five seconds, which is a failure.
TEST_P(ScheduleStress, AReadyThreadBehindAHogIsTaken) {
  if (GetParam().workers < 2) GTEST_SKIP() << "cooperative: one worker can't";
  const u32 rounds = scaled(40) + 5;
  for (u32 round = 0; round < rounds; ++round) {
    start(4);
    std::atomic<u32> steps{0};
    std::atomic<bool> hogging{false};
    std::atomic<bool> enough{false};
    u32 starved = 0;
    spawn([&] {
      for (u32 i = 0; i < 200 + round; ++i) yield();  // the other workers go to sleep meanwhile
      hogging = true;
      const u32 before = steps.load();
      const u64 deadline = now_ns() + 5'000'000'000;
      while (steps.load() == before && now_ns() < deadline) {
      }
      if (steps.load() == before) ++starved;
      enough = true;
    });
    spawn([&] {
      while (!enough) {
        steps.fetch_add(1);
        yield();
      }
    });
    run();
    ASSERT_EQ(starved, 0u) << "round " << round;
    ASSERT_EQ(runtime.shutdown(), Error::ok);
  }
}

// Everything at once, each thread by its own dice.
TEST_P(ScheduleStress, Mixture) {
  const u32 threads = scaled_threads(400);
  const u32 steps = scaled(300) + 10;
  start(threads + 100);
  std::vector<std::atomic<u64>> handles(threads);
  std::atomic<u32> ended{0};
  for (u32 t = 0; t < threads; ++t) {
    const Handle h = spawn([&, t] {
      Random r = random(t);
      const auto somebody = [&] {
        const u64 v = handles[r.below(threads)].load();
        return Handle{static_cast<u32>(v), static_cast<u32>(v >> 32)};
      };
      for (u32 i = 0; i < steps; ++i) {
        switch (r.below(8)) {
          case 0:
          case 1: yield(); break;
          case 2: (void)sleep_for(std::chrono::nanoseconds(r.below(50'000))); break;
          case 3: {
            const Error e = park(std::chrono::nanoseconds(r.below(30'000)));
            EXPECT_TRUE(e == Error::ok || e == Error::timed_out);
            break;
          }
          case 4:
          case 5: (void)unpark(somebody()); break;
          case 6: {
            const Error e = join(somebody(), std::chrono::nanoseconds(r.below(20'000)));
            EXPECT_NE(e, Error::cancelled);
            break;
          }
          default: {
            const auto h2 = gvt::spawn([&] {
              yield();
              ended.fetch_add(1);
            });
            if (!h2.ok()) {
              ended.fetch_add(1);
            } else if (r.one_in(2)) {
              EXPECT_EQ(join(h2.value()), Error::ok);
            }
          }
        }
      }
    });
    handles[t].store(u64{h.generation} << 32 | h.id);
  }
  run();
  EXPECT_GT(ended.load(), 0u);
}

}  // namespace
}  // namespace gvt::test
