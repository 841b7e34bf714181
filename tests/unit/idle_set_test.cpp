// SPDX-License-Identifier: MIT
//
// idle_set_test.cpp - core/idle_set.hpp: announcements, claims and searchers, alone and among OS
// threads.
#include "core/idle_set.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/ports.hpp"

namespace gvt::core {
namespace {

using Idle = IdleSet<LinuxPort>;

TEST(IdleSet, NobodyIsIdleAtFirst) {
  Idle idle;
  EXPECT_FALSE(idle.any_idle());
  EXPECT_EQ(idle.searching(), 0u);
  EXPECT_EQ(idle.claim_any(), Idle::kNobody);
  for (u32 w = 0; w < kMaxWorkers; ++w) {
    EXPECT_FALSE(idle.is_idle(w));
    EXPECT_FALSE(idle.claim(w));
    EXPECT_FALSE(idle.retract(w));
  }
}

TEST(IdleSet, AnAnnouncedWorkerCanBeClaimedOnce) {
  for (const u32 w : {0u, 1u, 31u, 32u, kMaxWorkers - 1}) {
    Idle idle;
    EXPECT_FALSE(idle.announce(w, false));
    EXPECT_TRUE(idle.is_idle(w));
    EXPECT_TRUE(idle.any_idle());
    EXPECT_EQ(idle.claim_any(), w);
    EXPECT_FALSE(idle.any_idle());
    EXPECT_EQ(idle.searching(), 1u);  // the claimed one counts as searching
    EXPECT_EQ(idle.claim_any(), Idle::kNobody);
    EXPECT_FALSE(idle.retract(w));
    EXPECT_TRUE(idle.end_search());
    EXPECT_EQ(idle.searching(), 0u);
  }
}

TEST(IdleSet, ARetractedAnnouncementSearches) {
  Idle idle;
  idle.announce(3, false);
  EXPECT_TRUE(idle.retract(3));
  EXPECT_FALSE(idle.is_idle(3));
  EXPECT_EQ(idle.searching(), 1u);
}

TEST(IdleSet, NobodyIsClaimedWhileSomebodySearches) {
  Idle idle;
  idle.announce(0, false);
  idle.announce(1, false);
  EXPECT_NE(idle.claim_any(), Idle::kNobody);
  EXPECT_EQ(idle.claim_any(), Idle::kNobody);  // no herd
  EXPECT_TRUE(idle.end_search());
  EXPECT_NE(idle.claim_any(), Idle::kNobody);
}

TEST(IdleSet, ANamedWorkerIsClaimedWhoeverSearches) {
  Idle idle;
  idle.announce(0, false);
  idle.announce(1, false);
  EXPECT_TRUE(idle.claim(1));
  EXPECT_TRUE(idle.claim(0));
  EXPECT_FALSE(idle.claim(0));
  EXPECT_EQ(idle.searching(), 2u);
}

TEST(IdleSet, TheLastSearcherIsTold) {
  Idle idle;
  EXPECT_TRUE(idle.begin_search(8));
  EXPECT_TRUE(idle.begin_search(8));
  EXPECT_TRUE(idle.begin_search(8));
  EXPECT_FALSE(idle.end_search());
  EXPECT_FALSE(idle.announce(5, true));
  EXPECT_TRUE(idle.announce(6, true));
  EXPECT_TRUE(idle.is_idle(5));
  EXPECT_TRUE(idle.is_idle(6));
  EXPECT_EQ(idle.searching(), 0u);
}

TEST(IdleSet, AtMostHalfOfTheWorkersSearch) {
  for (u32 workers = 1; workers <= kMaxWorkers; ++workers) {
    Idle idle;
    u32 searchers = 0;
    while (idle.begin_search(workers)) ++searchers;
    EXPECT_EQ(searchers, (workers + 1) / 2) << workers;
  }
}

TEST(IdleSet, AllWorkersMayBeIdleOrSearching) {
  Idle idle;
  for (u32 w = 0; w < kMaxWorkers; ++w) idle.announce(w, false);
  for (u32 w = 0; w < kMaxWorkers; ++w) EXPECT_TRUE(idle.is_idle(w));
  for (u32 w = 0; w < kMaxWorkers; ++w) EXPECT_TRUE(idle.claim(w));
  EXPECT_EQ(idle.searching(), kMaxWorkers);
  EXPECT_FALSE(idle.any_idle());
  for (u32 w = 0; w < kMaxWorkers; ++w) EXPECT_EQ(idle.announce(w, true), w == kMaxWorkers - 1);
  EXPECT_EQ(idle.searching(), 0u);
}

TEST(IdleSet, SynchroniseChangesNothing) {
  Idle idle;
  idle.announce(7, false);
  idle.synchronise();
  EXPECT_TRUE(idle.is_idle(7));
  EXPECT_EQ(idle.searching(), 0u);
}

// INV-IDLE-2: of an announced worker and any number of claimers exactly one wins.
TEST(IdleSet, AClaimBelongsToOneOsThread) {
  Idle idle;
  const u32 rounds = test::scaled(50'000);
  std::atomic<u32> round{0};
  std::atomic<u32> claims{0};
  std::vector<std::thread> claimers;
  for (int i = 0; i < 2; ++i) {
    claimers.emplace_back([&] {
      while (round.load() < rounds) {
        if (idle.claim_any() != Idle::kNobody) claims.fetch_add(1);
      }
    });
  }
  u32 retracted = 0;
  for (u32 r = 0; r < rounds; ++r) {
    const u32 before = claims.load();
    idle.announce(0, false);
    if (idle.retract(0)) {
      ++retracted;
      EXPECT_EQ(claims.load(), before);
    } else {
      while (claims.load() == before) std::this_thread::yield();
      EXPECT_EQ(claims.load(), before + 1);
    }
    EXPECT_TRUE(idle.end_search());
    round.store(r + 1);
  }
  for (auto& t : claimers) t.join();
  EXPECT_EQ(claims.load() + retracted, rounds);
  EXPECT_EQ(idle.searching(), 0u);
}

TEST(IdleSetDeathTest, AnAnnouncementTwicePanics) {
  Idle idle;
  idle.announce(4, false);
  EXPECT_PANIC(idle.announce(4, false), "INV-IDLE-2");
}

TEST(IdleSetDeathTest, TheEndOfNoSearchPanics) {
  Idle idle;
  EXPECT_PANIC(idle.end_search(), "INV-IDLE-2");
}

}  // namespace
}  // namespace gvt::core
