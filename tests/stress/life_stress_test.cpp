// SPDX-License-Identifier: MIT
//
// life_stress_test.cpp - storms of spawn, exit and join: slots are reused at once, handles of ended
// threads are everywhere, OS threads of the program spawn and join too.
#include "tests/support/stress.hpp"

namespace gvt::test {
namespace {

using namespace std::chrono_literals;

class LifeStress : public StressTest {};
GVT_INSTANTIATE_STRESS(LifeStress);

// Slots in short supply: every spawn reuses one that was just left.
TEST_P(LifeStress, SpawnAndExit) {
  const u32 each = scaled(5000);
  constexpr u32 kSpawners = 4;
  start(kSpawners + 6);
  std::atomic<u32> ran{0};
  for (u32 s = 0; s < kSpawners; ++s) {
    spawn([&, s] {
      Random r = random(s);
      for (u32 i = 0; i < each; ++i) {
        spawn_when_possible([&ran, rest = r.below(4)] {
          if (rest == 0) yield();
          ran.fetch_add(1);
        });
      }
    });
  }
  run();
  EXPECT_EQ(ran.load(), kSpawners * each);
}

// Trees: each thread spawns two more, and joins them or not.
TEST_P(LifeStress, Trees) {
  start(4096);
  struct Grower {
    static void grow(u32 depth, std::atomic<u32>& nodes, bool join_them) {
      nodes.fetch_add(1);
      if (depth == 0) return;
      Handle children[2];
      for (Handle& child : children) {
        spawn_when_possible([depth, &nodes, join_them] { grow(depth - 1, nodes, join_them); },
                            &child);
      }
      if (!join_them) return;
      for (const Handle child : children) EXPECT_EQ(join(child), Error::ok);
    }
  };
  const u32 depth = kTsan ? 6 : 10;
  for (u32 round = 0; round < 4; ++round) {
    std::atomic<u32> nodes{0};
    spawn([&] { Grower::grow(depth, nodes, round % 2 == 0); });
    run();
    EXPECT_EQ(nodes.load(), (2u << depth) - 1);
  }
}

// Handles of threads that have ended, used by OS threads and green threads while the slots live on:
// always stale, and the tenants notice nothing.
TEST_P(LifeStress, StaleHandlesNeverTouchTheNextTenant) {
  const u32 lives = scaled(6000);
  constexpr u32 kSlots = 16;
  start(kSlots);
  std::atomic<bool> go_on{true};
  std::atomic<u64> dead[64] = {};  // handles whose threads have been joined
  const auto pack = [](Handle h) { return u64{h.generation} << 32 | h.id; };
  const auto unpack = [](u64 v) { return Handle{static_cast<u32>(v), static_cast<u32>(v >> 32)}; };
  spawn([&] {
    Random r = random(0);
    for (u32 i = 0; i < lives; ++i) {
      Handle h;
      spawn_when_possible(
          [wait = r.below(3)] {
            // Nobody unparks or cancels this life.
            if (wait == 0) {
              EXPECT_EQ(park(Deadline(now_ns() + 2000)), Error::timed_out);
            } else if (wait == 1) {
              EXPECT_EQ(sleep_for(1us), Error::ok);
            }
            EXPECT_FALSE(this_thread::cancelled());
          },
          &h);
      if (r.one_in(2)) {
        EXPECT_EQ(join(h), Error::ok);
        dead[r.below(64)].store(pack(h));
      }
    }
    go_on = false;
  });
  for (u32 p = 0; p < 2; ++p) {
    spawn([&, p] {
      Random r = random(100 + p);
      while (go_on) {
        const Handle h = unpack(dead[r.below(64)].load());
        EXPECT_EQ(unpark(h), Error::stale);
        EXPECT_EQ(cancel(h), Error::stale);
        yield();
      }
    });
  }
  std::vector<std::thread> foreign;
  for (u32 p = 0; p < 2; ++p) {
    foreign.emplace_back([&, p] {
      Random r = random(200 + p);
      while (go_on) {
        const Handle h = unpack(dead[r.below(64)].load());
        EXPECT_EQ(runtime.unpark(h), Error::stale);
        EXPECT_EQ(runtime.cancel(h), Error::stale);
        if (h) {
          EXPECT_EQ(runtime.join(h), Error::ok);
        }
      }
    });
  }
  run();
  for (auto& t : foreign) t.join();
}

// Handles of threads that end at any moment, unparked by everybody.
TEST_P(LifeStress, UnparksOfThreadsThatAreEnding) {
  const u32 lives = scaled(6000);
  start(24);
  std::atomic<bool> go_on{true};
  std::atomic<u64> some[16] = {};
  const auto pack = [](Handle h) { return u64{h.generation} << 32 | h.id; };
  const auto unpack = [](u64 v) { return Handle{static_cast<u32>(v), static_cast<u32>(v >> 32)}; };
  spawn([&] {
    Random r = random(0);
    for (u32 i = 0; i < lives; ++i) {
      Handle h;
      spawn_when_possible(
          [parks = r.below(4)] {
            for (u32 k = 0; k < parks; ++k) {
              const Error e = park(Deadline(now_ns() + 3000));
              EXPECT_TRUE(e == Error::ok || e == Error::timed_out);
            }
          },
          &h);
      some[r.below(16)].store(pack(h));
    }
    go_on = false;
  });
  const auto disturb = [&](Runtime& rt, Random r, auto pause) {
    while (go_on) {
      const Handle h = unpack(some[r.below(16)].load());
      const Error e = r.one_in(4) ? rt.join(h, Deadline(now_ns() + r.below(3000))) : rt.unpark(h);
      EXPECT_TRUE(e == Error::ok || e == Error::stale || e == Error::timed_out) << error_name(e);
      pause();
    }
  };
  for (u32 p = 0; p < 3; ++p) {
    spawn([&, p] { disturb(runtime, random(100 + p), [] { yield(); }); });
  }
  std::vector<std::thread> foreign;
  for (u32 p = 0; p < 2; ++p) {
    foreign.emplace_back([&, p] { disturb(runtime, random(200 + p), [] {}); });
  }
  run();
  for (auto& t : foreign) t.join();
}

TEST_P(LifeStress, JoinStorm) {
  constexpr u32 kJoiners = 6;
  const u32 rounds = scaled(3000);
  start(64);
  std::atomic<u64> joined{0};
  std::atomic<u64> timed_out{0};
  spawn([&] {
    Random r = random(0);
    for (u32 i = 0; i < rounds; ++i) {
      const u64 when = now_ns() + r.below(40'000);
      Handle target;
      spawn_when_possible([when] { (void)sleep_until(Deadline(when)); }, &target);
      Handle joiners[kJoiners];
      for (u32 j = 0; j < kJoiners; ++j) {
        const u64 deadline = j % 3 == 0 ? kNever : when - 5000 + r.below(10'000);
        spawn_when_possible(
            [&, target, deadline] {
              const Error e = join(target, Deadline(deadline));
              EXPECT_TRUE(e == Error::ok || (e == Error::timed_out && deadline != kNever));
              (e == Error::ok ? joined : timed_out).fetch_add(1);
              // The target's wake, if it was late, was met in the join.
              EXPECT_EQ(park(Deadline(now_ns() + 1000)), Error::timed_out);
            },
            &joiners[j]);
      }
      for (const Handle h : joiners) EXPECT_EQ(join(h), Error::ok);
    }
  });
  run();
  EXPECT_EQ(joined.load() + timed_out.load(), u64{rounds} * kJoiners);
}

TEST_P(LifeStress, OsThreadsSpawnAndJoin) {
  constexpr u32 kForeign = 3;
  const u32 each = scaled(1500);
  start(64);
  std::atomic<u32> ran{0};
  std::atomic<u32> spawners{kForeign};
  spawn([&] {  // run() has something to wait for
    while (spawners.load() > 0) (void)sleep_for(20us);
  });
  std::vector<std::thread> foreign;
  for (u32 f = 0; f < kForeign; ++f) {
    foreign.emplace_back([&, f] {
      Random r = random(f);
      for (u32 i = 0; i < each;) {
        const auto h = runtime.spawn([&ran, rest = r.below(3)] {
          if (rest == 0) yield();
          if (rest == 1) (void)sleep_for(2us);
          ran.fetch_add(1);
        });
        if (!h.ok()) {
          EXPECT_EQ(h.error(), Error::no_slot);
          std::this_thread::yield();
          continue;
        }
        ++i;
        if (r.one_in(3)) {
          EXPECT_EQ(runtime.join(h.value()), Error::ok);
        } else if (r.one_in(3)) {
          const Error e = runtime.join(h.value(), std::chrono::nanoseconds(r.below(20'000)));
          EXPECT_TRUE(e == Error::ok || e == Error::timed_out);
        }
      }
      spawners.fetch_sub(1);
    });
  }
  run();
  for (auto& t : foreign) t.join();
  run();
  EXPECT_EQ(ran.load(), kForeign * each);
}

// run() returns exactly when everything has ended, however close a spawn comes.
TEST_P(LifeStress, DrainAgainAndAgain) {
  const u32 rounds = scaled(2000);
  start(32);
  std::atomic<u32> ran{0};
  for (u32 i = 0; i < rounds; ++i) {
    const u32 count = 1 + i % 4;
    const u32 before = ran.load();
    for (u32 k = 0; k < count; ++k) {
      spawn([&ran, k] {
        if (k % 2 == 1) {
          EXPECT_TRUE(gvt::spawn([&ran] { ran.fetch_add(1); }).ok());
        } else {
          ran.fetch_add(1);
        }
      });
    }
    run();
    ASSERT_EQ(ran.load(), before + count);
  }
}

TEST_P(LifeStress, StartAndShutdown) {
  const u32 rounds = scaled(200);
  for (u32 i = 0; i < rounds; ++i) {
    start(8);
    std::atomic<u32> ran{0};
    for (u32 k = 0; k < i % 4; ++k) spawn([&] { ran.fetch_add(1); });
    if (i % 3 == 0) run();
    ASSERT_EQ(runtime.shutdown(), Error::ok);
    ASSERT_EQ(ran.load(), i % 4);
  }
}

// stop() at a random moment while everything goes on: every thread ends.
TEST_P(LifeStress, StopUnderLoad) {
  const u32 rounds = scaled(100) + 2;
  Random r = random(0);
  for (u32 round = 0; round < rounds; ++round) {
    start(128);
    std::atomic<u32> alive{0};
    struct Worker {
      static void live(std::atomic<u32>& alive, u64 stream) {
        alive.fetch_add(1);
        Random mine(stream);
        Handle friends[3] = {};
        for (;;) {
          Error e = Error::ok;
          switch (mine.below(6)) {
            case 0: e = park(std::chrono::nanoseconds(mine.below(10'000))); break;
            case 1: e = sleep_for(std::chrono::nanoseconds(mine.below(10'000))); break;
            case 2: yield(); break;
            case 3: e = join(friends[mine.below(3)], 5us); break;
            case 4: (void)unpark(friends[mine.below(3)]); break;
            default: {
              const u64 next = mine.next();
              const auto h = gvt::spawn([&alive, next] {
                if (next % 2 == 0) live(alive, next);
              });
              if (h.ok()) friends[mine.below(3)] = h.value();
            }
          }
          if (e == Error::cancelled || this_thread::cancelled()) break;
        }
        alive.fetch_sub(1);
      }
    };
    for (u32 i = 0; i < 10; ++i) {  // no_slot: those before have filled the runtime already
      (void)runtime.spawn([&alive, s = r.next()] { Worker::live(alive, s); });
    }
    const u32 delay = r.below(2000);
    std::thread stopper([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(delay));
      EXPECT_EQ(runtime.stop(), Error::ok);
    });
    run();
    stopper.join();
    ASSERT_EQ(alive.load(), 0u);
    ASSERT_EQ(runtime.shutdown(), Error::ok);
  }
}

}  // namespace
}  // namespace gvt::test
