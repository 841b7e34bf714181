// SPDX-License-Identifier: MIT
//
// timers_test.cpp - core/timers.hpp: arm, disarm and expire on several heaps, and which idle worker
// keeps the earliest deadline.
#include "core/timers.hpp"
#include "core/list.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "model/consistent.hpp"
#include "tests/support/ports.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

using Green = Thread<LinuxPort>;

struct Rig {
  Rig(u32 workers, u32 capacity)
      : worker_count(workers),
        sleepers(capacity),
        memory(Timers<LinuxPort>::required_bytes(workers, capacity)),
        threads(new Green[capacity]) {
    timers.init(memory.data(), threads.get(), workers, capacity);
    for (u32 i = 0; i < capacity; ++i) {
      threads[i].id = i;
      threads[i].word.store(step_spawn({}).next.raw, std::memory_order_relaxed);
    }
  }
  // The thread waits, up to the moment where its stack is quiet.
  bool sleep(u32 worker, u32 i, u64 deadline_ns) {
    take_step(threads[i], [](ParkWord w) { return step_prepare(w, WaitKind::park); });
    const bool earliest = timers.arm(worker, threads[i], deadline_ns);
    EXPECT_FALSE(take_step(threads[i], step_commit));
    return earliest;
  }
  std::vector<u32> expire(u32 worker, u64 now_ns) {
    List<Green> ready;
    while (timers.expire(worker, now_ns, ready)) {
    }
    std::vector<u32> ids;
    while (Green* t = ready.pop_front()) ids.push_back(t->id);
    return ids;
  }
  bool consistent(u32 limit) const {
    return model::consistent(timers, memory.data(), threads.get(), worker_count, sleepers, limit);
  }
  Ended ended(u32 i) { return ParkWord{threads[i].word.load()}.ended(); }
  Phase phase(u32 i) { return ParkWord{threads[i].word.load()}.phase(); }

  u32 worker_count;
  u32 sleepers;
  test::AlignedBytes memory;
  std::unique_ptr<Green[]> threads;
  Timers<LinuxPort> timers;
};

using Ids = std::vector<u32>;

TEST(Timers, NobodySleeps) {
  Rig rig(3, 4);
  EXPECT_EQ(rig.timers.earliest_ns(), kNever);
  EXPECT_EQ(rig.expire(0, kNever), Ids{});
  EXPECT_FALSE(rig.timers.needs_keeper());
  EXPECT_EQ(rig.timers.keep(0), kNever);
  EXPECT_TRUE(rig.consistent(0));
}

TEST(Timers, DueSleepersBecomeReadyInOrder) {
  Rig rig(1, 4);
  EXPECT_TRUE(rig.sleep(0, 0, 300));
  EXPECT_TRUE(rig.sleep(0, 1, 100));
  EXPECT_FALSE(rig.sleep(0, 2, 200));
  EXPECT_FALSE(rig.sleep(0, 3, 100));
  EXPECT_EQ(rig.timers.earliest_ns(), 100u);
  EXPECT_EQ(rig.expire(0, 99), Ids{});
  Ids due = rig.expire(0, 200);
  ASSERT_EQ(due.size(), 3u);
  EXPECT_EQ(due[2], 2u);
  EXPECT_EQ(rig.timers.earliest_ns(), 300u);
  for (const u32 i : due) EXPECT_EQ(rig.ended(i), Ended::timeout);
  EXPECT_EQ(rig.phase(0), Phase::parked);
}

TEST(Timers, DisarmFromTheOwnAndFromAnotherHeap) {
  Rig rig(2, 3);
  rig.sleep(1, 0, 100);
  rig.sleep(1, 1, 50);
  rig.sleep(0, 2, 70);
  EXPECT_EQ(rig.timers.earliest_ns(), 50u);
  EXPECT_TRUE(take_step(rig.threads[1], step_unpark));
  rig.timers.disarm(rig.threads[1]);
  EXPECT_EQ(rig.timers.earliest_ns(0), 70u);
  EXPECT_EQ(rig.timers.earliest_ns(1), 100u);
  rig.timers.disarm(rig.threads[1]);  // not there any more: nothing
  EXPECT_EQ(rig.expire(0, 1000), Ids{2});
  EXPECT_EQ(rig.expire(1, 1000), Ids{0});
  EXPECT_TRUE(rig.consistent(0));
}

// INV-TMR-3: a wait that has ended otherwise is not touched, even if its timer is late.
TEST(Timers, ATimeoutLeavesAnEndedWaitAlone) {
  Rig rig(1, 1);
  rig.sleep(0, 0, 100);
  EXPECT_TRUE(take_step(rig.threads[0], step_unpark));
  EXPECT_EQ(rig.expire(0, 200), Ids{});
  EXPECT_EQ(rig.ended(0), Ended::permit);
  rig.timers.disarm(rig.threads[0]);  // not there any more: nothing
  EXPECT_TRUE(rig.consistent(0));
}

// A time-out that meets a thread on its way to parking: the commit enqueues it, nobody else.
TEST(Timers, ATimeoutOfAParkingThreadDoesNotEnqueueIt) {
  Rig rig(1, 1);
  take_step(rig.threads[0], [](ParkWord w) { return step_prepare(w, WaitKind::park); });
  rig.timers.arm(0, rig.threads[0], 100);
  EXPECT_EQ(rig.expire(0, 100), Ids{});
  EXPECT_TRUE(take_step(rig.threads[0], step_commit));
  EXPECT_EQ(rig.ended(0), Ended::timeout);
}

TEST(Timers, ExpiresInBoundedBatches) {
  constexpr u32 kMany = 200;
  Rig rig(1, kMany);
  for (u32 i = 0; i < kMany; ++i) rig.sleep(0, i, i);
  List<Green> ready;
  u32 batches = 0;
  u32 last = 0;
  for (bool more = true; more; ++batches) {
    const u32 before = ready.count();
    more = rig.timers.expire(0, kNever - 1, ready);
    last = ready.count() - before;
    EXPECT_LE(last, 64u);
  }
  EXPECT_EQ(ready.count(), kMany);
  EXPECT_GE(batches, kMany / 64);
  for (u32 i = 0; i < kMany; ++i) EXPECT_EQ(ready.pop_front()->id, i);
}

TEST(Timers, TheKeeperIsArmedForTheEarliestOfAllHeaps) {
  Rig rig(3, 3);
  rig.sleep(0, 0, 300);
  rig.sleep(1, 1, 200);
  EXPECT_TRUE(rig.timers.needs_keeper());
  EXPECT_EQ(rig.timers.keep(2), 200u);
  EXPECT_FALSE(rig.timers.needs_keeper());
  EXPECT_EQ(rig.timers.keep(0), kNever);  // it is kept
  rig.timers.unkeep(0);                   // not the keeper: nothing
  EXPECT_FALSE(rig.timers.needs_keeper());
  rig.timers.unkeep(2);
  EXPECT_TRUE(rig.timers.needs_keeper());
}

// An arm for a later deadline must not replace the earlier one, and an earlier one must replace it.
TEST(Trap, OlderTimerArmOverwritesANewerEarlierOne) {
  Rig rig(3, 3);
  rig.sleep(0, 0, 300);
  EXPECT_EQ(rig.timers.keep(0), 300u);
  rig.sleep(1, 1, 100);
  EXPECT_TRUE(rig.timers.needs_keeper());  // a busy worker armed an earlier one: somebody must look
  EXPECT_EQ(rig.timers.keep(1), 100u);
  EXPECT_EQ(rig.timers.keep(2), kNever);
  rig.timers.unkeep(0);  // the older keeper, late: it must not disarm the newer one
  EXPECT_FALSE(rig.timers.needs_keeper());
  EXPECT_EQ(rig.timers.keep(0), kNever);
  EXPECT_EQ(rig.expire(1, 100), Ids{1});
  rig.timers.unkeep(1);
  EXPECT_EQ(rig.timers.keep(1), 300u);
}

TEST(Timers, RandomSleepersAreNeverEarlyAndNeverLost) {
  test::Random random(test::printed_seed());
  constexpr u32 kWorkers = 3;
  constexpr u32 kThreads = 40;
  Rig rig(kWorkers, kThreads);
  std::vector<u64> deadline(kThreads, 0);  // 0: awake
  u64 now = 1;
  for (u32 step = 0; step < 20'000; ++step) {
    const u32 i = random.below(kThreads);
    switch (random.below(4)) {
      case 0:
      case 1:
        if (deadline[i] == 0) {
          deadline[i] = now + random.below(100);
          rig.sleep(random.below(kWorkers), i, deadline[i]);
        }
        break;
      case 2:
        if (deadline[i] != 0) {
          ASSERT_TRUE(take_step(rig.threads[i], step_unpark));
          rig.timers.disarm(rig.threads[i]);
          deadline[i] = 0;
        }
        break;
      default:
        now += random.below(20);
        for (u32 w = 0; w < kWorkers; ++w) {
          for (const u32 due : rig.expire(w, now)) {
            ASSERT_NE(deadline[due], 0u);
            ASSERT_LE(deadline[due], now);
            deadline[due] = 0;
          }
        }
        for (const u64 d : deadline) ASSERT_TRUE(d == 0 || d > now);
    }
    u64 earliest = kNever;
    for (const u64 d : deadline)
      if (d != 0 && d < earliest) earliest = d;
    ASSERT_EQ(rig.timers.earliest_ns(), earliest);
    ASSERT_TRUE(rig.consistent(kThreads));
  }
}

}  // namespace
}  // namespace gvt::core
