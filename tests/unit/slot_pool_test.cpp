// SPDX-License-Identifier: MIT
//
// slot_pool_test.cpp - core/slot_pool.hpp: empty, one, full, reuse, batches, warm and cold slots,
// and that "none free" is exact with several shards and OS threads.
#include "core/slot_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/ports.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

using Pool = SlotPool<LinuxPort>;
constexpr u32 kNone = Pool::kNone;

struct Rig {
  explicit Rig(u32 capacity, u32 shards = 1, u32 warm_max = ~u32{0} / 2)
      : memory(Pool::required_bytes(shards, capacity)) {
    pool.init(memory.data(), shards, capacity, warm_max);
  }
  test::AlignedBytes memory;
  Pool pool;

  std::vector<u32> free_slots() {
    std::vector<u32> slots;
    EXPECT_TRUE(pool.for_each_free([&](u32 s) { slots.push_back(s); }));
    std::sort(slots.begin(), slots.end());
    return slots;
  }
};

class SlotPoolCapacity : public testing::TestWithParam<u32> {};
INSTANTIATE_TEST_SUITE_P(Tiny, SlotPoolCapacity,
                         testing::Values(1, 2, 3, 31, 32, 33, 63, 64, 65, 200));

TEST_P(SlotPoolCapacity, FillsToTheLastSlotAndNotBeyond) {
  for (const u32 shard : {0u, kNone}) {
    Rig rig(GetParam());
    std::set<u32> got;
    for (u32 i = 0; i < GetParam(); ++i) {
      const u32 slot = rig.pool.acquire(shard);
      ASSERT_LT(slot, GetParam());
      ASSERT_TRUE(got.insert(slot).second);
    }
    EXPECT_EQ(rig.pool.acquire(shard), kNone);
    EXPECT_EQ(rig.pool.acquire(kNone), kNone);
    EXPECT_TRUE(rig.free_slots().empty());
    EXPECT_EQ(rig.pool.used(), GetParam());
    for (const u32 slot : got) rig.pool.release(shard, slot);
    EXPECT_EQ(rig.free_slots().size(), GetParam());
    for (u32 i = 0; i < GetParam(); ++i) ASSERT_NE(rig.pool.acquire(shard), kNone);
    EXPECT_EQ(rig.pool.acquire(shard), kNone);
  }
}

TEST(SlotPool, ReleasedLastIsAcquiredFirst) {
  Rig rig(100);
  u32 a = rig.pool.acquire(0);
  u32 b = rig.pool.acquire(0);
  const u32 c = rig.pool.acquire(0);
  rig.pool.release(0, a);
  rig.pool.release(0, c);
  rig.pool.release(0, b);
  EXPECT_EQ(rig.pool.acquire(0), b);
  EXPECT_EQ(rig.pool.acquire(0), c);
  EXPECT_EQ(rig.pool.acquire(0), a);
}

TEST(SlotPool, FreshSlotsComeLowestFirst) {
  Rig rig(100);
  for (u32 i = 0; i < 100; ++i) EXPECT_EQ(rig.pool.acquire(0), i);
}

TEST(SlotPool, AForeignOsThreadReusesTheLastReleased) {
  Rig rig(100, 2);
  const u32 a = rig.pool.acquire(kNone);
  const u32 b = rig.pool.acquire(kNone);
  rig.pool.release(kNone, a);
  rig.pool.release(kNone, b);
  EXPECT_EQ(rig.pool.acquire(kNone), b);
  EXPECT_EQ(rig.pool.acquire(kNone), a);
}

TEST(SlotPool, ASlotInAnotherShardIsFound) {
  Rig rig(3, 3);
  for (u32 shard = 0; shard < 3; ++shard) {
    for (u32 i = 0; i < 3; ++i) ASSERT_NE(rig.pool.acquire(0), kNone);
    EXPECT_EQ(rig.pool.acquire(1), kNone);
    for (u32 i = 0; i < 3; ++i) rig.pool.release(shard, i);
    for (u32 i = 0; i < 3; ++i) ASSERT_NE(rig.pool.acquire((shard + 1) % 3), kNone) << shard;
    EXPECT_EQ(rig.pool.acquire(shard), kNone);
    for (u32 i = 0; i < 3; ++i) rig.pool.release(0, i);
  }
}

TEST(SlotPool, AFullShardGivesItsOldestToTheDepot) {
  Rig rig(1000, 2);
  for (u32 i = 0; i < 200; ++i) ASSERT_EQ(rig.pool.acquire(0), i);
  for (u32 i = 0; i < 200; ++i) rig.pool.release(0, i);
  for (u32 i = 0; i < Pool::kBatch; ++i)
    EXPECT_EQ(rig.pool.acquire(0), 199 - i);  // the hottest stay
  EXPECT_LT(rig.pool.acquire(1), 200u);       // another worker gets used ones before fresh ones
  EXPECT_EQ(rig.pool.used(), 224u);           // the last batch of fresh ones ended there
}

TEST(SlotPool, FreshSlotsCanBeRefused) {
  Rig rig(100);
  u32 budget = 10;
  const auto make_fresh = [&](u32 first, u32 count) noexcept {
    EXPECT_EQ(first, 10 - budget);
    const u32 n = count < budget ? count : budget;
    budget -= n;
    return n;
  };
  for (u32 i = 0; i < 10; ++i) EXPECT_EQ(rig.pool.acquire(0, make_fresh), i);
  EXPECT_EQ(rig.pool.acquire(0, [](u32, u32) noexcept { return u32{0}; }), kNone);
  EXPECT_EQ(rig.pool.used(), 10u);
  rig.pool.release(0, 4);
  EXPECT_EQ(rig.pool.acquire(0, [](u32, u32) noexcept { return u32{0}; }), 4u);
  EXPECT_EQ(rig.pool.acquire(0, [](u32, u32 n) noexcept { return n; }), 10u);
}

TEST(SlotPool, WarmSlotsAboveTheWatermarkAreDiscarded) {
  for (const u32 warm_max : {0u, 1u, 32u, 64u, 1000u}) {
    Rig rig(1000, 1, warm_max);
    for (u32 i = 0; i < 500; ++i) ASSERT_EQ(rig.pool.acquire(0), i);
    std::vector<u32> discarded;
    for (u32 i = 0; i < 500; ++i) {
      rig.pool.release(0, i, [&](const u32* slots, u32 count) noexcept {
        discarded.insert(discarded.end(), slots, slots + count);
      });
    }
    // Everything beyond the shard and the watermark, in whole batches.
    const u32 in_shard_most = Pool::kShardMax;
    EXPECT_LE(discarded.size(), 500u);
    EXPECT_GE(discarded.size() + in_shard_most + warm_max + Pool::kBatch, 500u) << warm_max;
    EXPECT_TRUE(warm_max < 500 || discarded.empty());
    EXPECT_EQ(rig.free_slots().size(), rig.pool.used());  // the last fresh batch is in there
    std::sort(discarded.begin(), discarded.end());
    EXPECT_EQ(std::adjacent_find(discarded.begin(), discarded.end()), discarded.end());
  }
}

TEST(SlotPool, HotThenWarmThenColdThenFresh) {
  Rig rig(1000, 1, 32);
  for (u32 i = 0; i < 320; ++i) ASSERT_EQ(rig.pool.acquire(0), i);
  std::set<u32> cold;
  for (u32 i = 0; i < 320; ++i) {
    rig.pool.release(
        0, i, [&](const u32* slots, u32 count) noexcept { cold.insert(slots, slots + count); });
  }
  ASSERT_FALSE(cold.empty());
  bool seen_cold = false;
  for (u32 i = 0; i < 320; ++i) {
    const u32 slot = rig.pool.acquire(0);
    ASSERT_LT(slot, 320u);
    if (cold.count(slot) != 0) {
      seen_cold = true;
    } else {
      // Slots with pages come before those without, a batch apart at most.
      EXPECT_FALSE(seen_cold && i > 320 - cold.size() + Pool::kBatch);
    }
  }
  EXPECT_TRUE(seen_cold);
  EXPECT_EQ(rig.pool.acquire(0), 320u);
}

TEST(SlotPool, RandomOperationsAgainstASet) {
  test::Random random(test::printed_seed());
  for (const u32 capacity : {1u, 2u, 5u, 40u, 150u}) {
    const u32 shards = 1 + random.below(4);
    Rig rig(capacity, shards, random.below(capacity + 1));
    std::vector<u32> owned;
    for (u32 step = 0; step < 5000; ++step) {
      const u32 shard = random.below(shards + 1) == shards ? kNone : random.below(shards);
      if (random.below(2) == 0) {
        const u32 slot = rig.pool.acquire(shard);
        ASSERT_EQ(slot == kNone, owned.size() == capacity);  // INV-SLOT-3
        if (slot == kNone) continue;
        ASSERT_EQ(std::count(owned.begin(), owned.end(), slot), 0);  // INV-SLOT-2
        owned.push_back(slot);
      } else if (!owned.empty()) {
        const u32 i = random.below(static_cast<u32>(owned.size()));
        rig.pool.release(shard, owned[i]);
        owned[i] = owned.back();
        owned.pop_back();
      }
    }
    for (const u32 slot : owned) rig.pool.release(0, slot);
    EXPECT_EQ(rig.free_slots().size(), rig.pool.used());
  }
}

// As many OS threads as slots, each wants one: none may be told that there is none.
TEST(SlotPool, NoneFreeIsExactAmongOsThreads) {
  const u32 rounds = test::scaled(40'000);
  for (const u32 capacity : {2u, 4u, 40u}) {
    const u32 os_threads = 4;
    Rig rig(capacity, os_threads);
    const u32 each = capacity / os_threads > 0 ? capacity / os_threads : 1;
    const u32 active = capacity < os_threads ? capacity : os_threads;
    std::atomic<u32> refused{0};
    std::atomic<u32> doubled{0};
    std::vector<std::atomic<u32>> owners(capacity);
    std::vector<std::thread> threads;
    for (u32 t = 0; t < active; ++t) {
      threads.emplace_back([&, t] {
        std::vector<u32> mine;
        for (u32 i = 0; i < rounds; ++i) {
          const u32 shard = i % 7 == 0 ? kNone : t;
          while (mine.size() < each) {
            const u32 slot = rig.pool.acquire(shard);
            if (slot == kNone) {
              refused.fetch_add(1);
              break;
            }
            if (owners[slot].exchange(1) != 0) doubled.fetch_add(1);
            mine.push_back(slot);
          }
          for (const u32 slot : mine) {
            owners[slot].store(0);
            rig.pool.release(shard, slot);
          }
          mine.clear();
        }
      });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(refused.load(), 0u) << capacity;
    EXPECT_EQ(doubled.load(), 0u) << capacity;
    EXPECT_EQ(rig.free_slots().size(), rig.pool.used());
  }
}

TEST(SlotPoolDeathTest, AReleaseOutOfRangePanics) {
  Rig rig(4);
  EXPECT_PANIC(rig.pool.release(0, 4), "INV-SLOT-2");
  EXPECT_PANIC(rig.pool.release(kNone, kNone), "INV-SLOT-2");
}

}  // namespace
}  // namespace gvt::core
