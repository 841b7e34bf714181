// SPDX-License-Identifier: MIT
//
// sleep_heap_test.cpp - core/sleep_heap.hpp: order, removal at any place, back indexes, panics,
// and random operations against std::multimap.
#include "core/sleep_heap.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/support/death.hpp"
#include "tests/support/ports.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

using Heap = SleepHeap;
constexpr u32 kNone = Heap::kNone;

struct Rig {
  explicit Rig(u32 capacity) : memory(Heap::required_bytes(capacity)), deadlines(capacity + 1) {
    heap.init(memory.data(), capacity);
  }
  void insert(u32 i, u64 deadline_ns) {
    deadlines[i] = deadline_ns;
    heap.insert(i, deadline_ns);
  }
  test::AlignedBytes memory;
  std::vector<u64> deadlines;
  Heap heap;
};

TEST(SleepHeap, Empty) {
  Rig rig(4);
  EXPECT_EQ(rig.heap.count(), 0u);
  EXPECT_EQ(rig.heap.earliest_ns(), kNever);
  EXPECT_EQ(rig.heap.pop_due(kNever), kNone);
  EXPECT_TRUE(rig.heap.check_consistency());
}

TEST(SleepHeap, One) {
  Rig rig(1);
  rig.insert(0, 100);
  EXPECT_EQ(rig.heap.earliest_ns(), 100u);
  EXPECT_EQ(rig.heap.place(0), 1u);
  EXPECT_TRUE(rig.heap.contains(0));
  EXPECT_EQ(rig.heap.pop_due(99), kNone);  // INV-TMR-1: not before its deadline
  EXPECT_EQ(rig.heap.pop_due(100), 0u);
  EXPECT_FALSE(rig.heap.contains(0));
  rig.insert(0, 5);  // again
  rig.heap.remove(0);
  EXPECT_EQ(rig.heap.count(), 0u);
}

TEST(SleepHeap, SiblingsShareACacheLine) {
  Rig rig(64);
  for (u32 i = 0; i < 64; ++i) rig.insert(i, i);
  for (u32 parent = 0; parent * Heap::kArity + Heap::kArity < 64; ++parent) {
    const auto first = reinterpret_cast<usize>(&rig.heap.entry(parent * Heap::kArity + 1));
    EXPECT_EQ(first % 64, 0u) << parent;
  }
}

TEST(SleepHeap, EveryPermutationOfSixComesOutInOrder) {
  std::vector<u64> deadlines{1, 2, 3, 4, 5, 6};
  do {
    Rig rig(6);
    for (u32 i = 0; i < 6; ++i) rig.insert(i, deadlines[i]);
    ASSERT_TRUE(rig.heap.check_consistency());
    for (u64 want = 1; want <= 6; ++want) {
      const u32 s = rig.heap.pop_due(kNever);
      ASSERT_NE(s, kNone);
      ASSERT_EQ(rig.deadlines[s], want);
      ASSERT_TRUE(rig.heap.check_consistency());
    }
  } while (std::next_permutation(deadlines.begin(), deadlines.end()));
}

TEST(SleepHeap, AnySleeperCanBeRemoved) {
  for (u32 n = 1; n <= 24; ++n) {
    for (u32 victim = 0; victim < n; ++victim) {
      Rig rig(n);
      test::Random random(n * 100 + victim);
      for (u32 i = 0; i < n; ++i) rig.insert(i, random.below(10));
      rig.heap.remove(victim);
      EXPECT_FALSE(rig.heap.contains(victim));
      ASSERT_TRUE(rig.heap.check_consistency());
      u64 last = 0;
      for (u32 left = n - 1; left > 0; --left) {
        const u32 s = rig.heap.pop_due(kNever);
        ASSERT_NE(s, kNone);
        ASSERT_NE(s, victim);
        ASSERT_GE(rig.deadlines[s], last);
        last = rig.deadlines[s];
      }
      EXPECT_EQ(rig.heap.count(), 0u);
    }
  }
}

// The last entry, put into the hole, may belong above it: it has to go up, not down.
TEST(SleepHeap, ARemovalCanMoveTheLastEntryUp) {
  Rig rig(16);
  // Root 0; its children 1 (subtree 10...) and 5 (subtree 5...): the last entry lies under 5.
  const u64 deadlines[] = {0, 10, 2, 3, 4, 11, 12, 13, 14, 5, 6};
  for (u32 i = 0; i < 11; ++i) rig.insert(i, deadlines[i]);
  ASSERT_TRUE(rig.heap.check_consistency());
  rig.heap.remove(5);  // 11, below 10; the last, 6, is less than 10
  EXPECT_TRUE(rig.heap.check_consistency());
}

TEST(SleepHeap, TiesAndExtremes) {
  Rig rig(8);
  for (u32 i = 0; i < 3; ++i) rig.insert(i, 50);
  rig.insert(3, 0);
  rig.insert(4, kNever - 1);
  EXPECT_EQ(rig.heap.pop_due(0), 3u);
  EXPECT_EQ(rig.heap.pop_due(49), kNone);
  for (u32 i = 0; i < 3; ++i) EXPECT_EQ(rig.deadlines[rig.heap.pop_due(50)], 50u);
  EXPECT_EQ(rig.heap.pop_due(kNever - 2), kNone);
  EXPECT_EQ(rig.heap.pop_due(kNever - 1), 4u);
}

TEST(SleepHeap, FullIsUsable) {
  Rig rig(5);
  for (u32 i = 0; i < 5; ++i) rig.insert(i, 5 - i);
  EXPECT_EQ(rig.heap.count(), 5u);
  EXPECT_TRUE(rig.heap.check_consistency());
  EXPECT_EQ(rig.heap.pop_due(1), 4u);
  rig.insert(4, 9);
  EXPECT_TRUE(rig.heap.check_consistency());
}

TEST(SleepHeap, ConsistencySeesAWrongEntry) {
  Rig rig(8);
  for (u32 i = 0; i < 8; ++i) rig.insert(i, i);
  auto& entry = const_cast<Heap::Entry&>(rig.heap.entry(1));
  const Heap::Entry good = entry;
  entry.sleeper = 2;  // its back index names another entry
  EXPECT_FALSE(rig.heap.check_consistency());
  entry.sleeper = 8;  // nobody
  EXPECT_FALSE(rig.heap.check_consistency());
  entry = good;
  EXPECT_TRUE(rig.heap.check_consistency());
  entry.deadline_ns = 100;  // later than its children
  EXPECT_FALSE(rig.heap.check_consistency());
}

TEST(SleepHeap, RandomOperationsAgainstAMultimap) {
  test::Random random(test::printed_seed());
  for (const u32 capacity : {2u, 4u, 17u, 300u}) {
    Rig rig(capacity);
    std::multimap<u64, u32> want;
    u64 now = 0;
    const auto erase = [&](u32 gone) {
      auto [i, end] = want.equal_range(rig.deadlines[gone]);
      while (i != end && i->second != gone) ++i;
      ASSERT_NE(i, end);
      want.erase(i);
    };
    for (u32 step = 0; step < 20'000; ++step) {
      const u32 s = random.below(capacity);
      switch (random.below(3)) {
        case 0:
          if (!rig.heap.contains(s)) {
            rig.insert(s, now + random.below(50));
            want.emplace(rig.deadlines[s], s);
          }
          break;
        case 1:
          if (rig.heap.contains(s)) {
            rig.heap.remove(s);
            erase(s);
          }
          break;
        default: {
          now += random.below(10);
          const u32 due = rig.heap.pop_due(now);
          if (want.empty() || want.begin()->first > now) {
            ASSERT_EQ(due, kNone);
          } else {
            ASSERT_NE(due, kNone);
            ASSERT_EQ(rig.deadlines[due], want.begin()->first);
            erase(due);
          }
        }
      }
      ASSERT_EQ(rig.heap.count(), want.size());
      ASSERT_EQ(rig.heap.earliest_ns(), want.empty() ? kNever : want.begin()->first);
      ASSERT_TRUE(rig.heap.check_consistency());
    }
  }
}

TEST(SleepHeapDeathTest, OneTooManyPanics) {
  Rig rig(2);
  rig.insert(0, 1);
  rig.insert(1, 1);
  EXPECT_PANIC(rig.heap.insert(2, 1), "INV-HEAP-2");
}

TEST(SleepHeapDeathTest, ASleeperOutOfRangePanics) {
  Rig rig(2);
  EXPECT_PANIC(rig.heap.insert(2, 1), "INV-HEAP-2");
}

TEST(SleepHeapDeathTest, InsertTwicePanics) {
  Rig rig(2);
  rig.insert(0, 1);
  EXPECT_PANIC(rig.heap.insert(0, 2), "INV-HEAP-1");
}

TEST(SleepHeapDeathTest, RemoveOfNobodyPanics) {
  Rig rig(2);
  EXPECT_PANIC(rig.heap.remove(0), "INV-HEAP-1");
  rig.insert(0, 1);
  EXPECT_PANIC(rig.heap.remove(1), "INV-HEAP-1");
}

}  // namespace
}  // namespace gvt::core
