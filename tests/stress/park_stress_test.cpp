// SPDX-License-Identifier: MIT
//
// park_stress_test.cpp - storms of park, unpark, cancel and time-outs: no permit is lost, no thread
// is resumed twice.
#include "tests/support/stress.hpp"

namespace gvt::test {
namespace {

using namespace std::chrono_literals;

class ParkStress : public StressTest {};
GVT_INSTANTIATE_STRESS(ParkStress);

// Producers leave tokens and unpark the one consumer; it parks whenever it finds none. A lost
// permit leaves it parked for ever.
TEST_P(ParkStress, OneConsumerManyProducersLoseNoToken) {
  constexpr u32 kProducers = 20;
  constexpr u32 kForeign = 2;
  const u32 each = scaled(4000);
  const u64 all = u64{each} * (kProducers + kForeign);
  start(64);
  std::atomic<u64> tokens{0};
  std::atomic<u32> running{0};
  const Handle consumer = spawn([&] {
    for (u64 got = 0; got < all;) {
      EXPECT_EQ(running.fetch_add(1), 0u) << "one stack, two workers";
      const u64 found = tokens.exchange(0);
      got += found;
      running.fetch_sub(1);
      if (found == 0) {
        EXPECT_EQ(park(), Error::ok);
      }
    }
  });
  for (u32 p = 0; p < kProducers; ++p) {
    spawn([&, p] {
      Random r = random(p);
      for (u32 i = 0; i < each; ++i) {
        tokens.fetch_add(1);
        (void)unpark(consumer);  // stale: the last token was taken without it
        if (r.one_in(4)) dawdle(r);
      }
    });
  }
  std::vector<std::thread> foreign;
  for (u32 p = 0; p < kForeign; ++p) {
    foreign.emplace_back([&] {
      for (u32 i = 0; i < each; ++i) {
        tokens.fetch_add(1);
        (void)runtime.unpark(consumer);
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  run();
  for (auto& t : foreign) t.join();
}

// Pairs in strict turns by permits alone.
TEST_P(ParkStress, PingPong) {
  constexpr u32 kPairs = 10;
  constexpr u32 kRounds = scaled(2000);
  start(64);
  struct Pair {
    Handle players[2];
    u32 plain = 0;  // written in turns
    std::atomic<u32> ready{0};
  };
  std::vector<Pair> pairs(kPairs);
  for (Pair& pair : pairs) {
    for (u32 me = 0; me < 2; ++me) {
      spawn([&pair, me] {
        pair.players[me] = this_thread::id();
        pair.ready.fetch_add(1);
        while (pair.ready.load() < 2) yield();
        for (u32 i = 0; i < kRounds; ++i) {
          if (me == 1) {
            EXPECT_EQ(park(), Error::ok);
          }
          EXPECT_EQ(pair.plain, 2 * i + me);
          ++pair.plain;
          EXPECT_EQ(unpark(pair.players[1 - me]), Error::ok);
          if (me == 0) {
            EXPECT_EQ(park(), Error::ok);
          }
        }
      });
    }
  }
  run();
  for (const Pair& pair : pairs) EXPECT_EQ(pair.plain, 2 * kRounds);
}

// A park with a tiny deadline against an unpark at about that moment: it ends by exactly one of
// them, and a permit that came too late is there for the next park.
TEST_P(ParkStress, TinyDeadlinesAgainstUnparks) {
  constexpr u32 kPairs = 16;
  const u32 rounds = scaled(1000);
  start(64);
  std::atomic<u64> by_permit{0};
  std::atomic<u64> by_timeout{0};
  struct Pair {
    Handle sleeper;
    std::atomic<u32> round{0};      // the waker's
    std::atomic<u32> confirmed{0};  // the sleeper's
  };
  std::vector<Pair> pairs(kPairs);
  for (u32 p = 0; p < kPairs; ++p) {
    Pair& pair = pairs[p];
    pair.sleeper = spawn([&, p] {
      Random r = random(p);
      for (u32 i = 1; i <= rounds; ++i) {
        u32 permits = 0;
        while (permits == 0) {
          const u64 deadline = now_ns() + r.below(20'000);
          const Error e = park(Deadline(deadline));
          if (e == Error::ok) {
            ++permits;
            by_permit.fetch_add(1);
          } else {
            EXPECT_EQ(e, Error::timed_out);
            EXPECT_GE(now_ns(), deadline);
            by_timeout.fetch_add(1);
          }
        }
        EXPECT_EQ(pair.round.load(), i);
        pair.confirmed.store(i);
      }
    });
    spawn([&, p] {
      Random r = random(1000 + p);
      for (u32 i = 1; i <= rounds; ++i) {
        if (r.one_in(2)) (void)sleep_for(std::chrono::nanoseconds(r.below(20'000)));
        pair.round.store(i);
        EXPECT_EQ(unpark(pair.sleeper), Error::ok);
        while (pair.confirmed.load() != i) {
          if (r.one_in(2)) {
            yield();
          } else {
            (void)sleep_for(5us);
          }
        }
      }
    });
  }
  run();
  EXPECT_EQ(by_permit.load(), u64{kPairs} * rounds);  // each permit was met once
}

// Many unparkers of one thread at once: each park ends once for at least one unpark.
TEST_P(ParkStress, NoMoreReturnsThanUnparks) {
  constexpr u32 kUnparkers = 8;
  const u32 each = scaled(3000);
  start(64);
  std::atomic<u64> unparks{0};
  std::atomic<u32> unparkers{kUnparkers};
  u64 returns = 0;
  const Handle target = spawn([&] {
    while (park() == Error::ok) {
      ++returns;
      EXPECT_LE(returns, unparks.load());
    }
  });
  for (u32 u = 0; u < kUnparkers; ++u) {
    spawn([&, u] {
      Random r = random(u);
      for (u32 i = 0; i < each; ++i) {
        unparks.fetch_add(1);
        EXPECT_EQ(unpark(target), Error::ok);
        if (r.one_in(8)) dawdle(r);
      }
      if (unparkers.fetch_sub(1) == 1) {
        EXPECT_EQ(cancel(target), Error::ok);
      }
    });
  }
  run();
  EXPECT_GE(returns, 1u);
}

// Cancels, from green and foreign threads, of threads in every kind of wait.
TEST_P(ParkStress, CancelStorm) {
  const u32 threads = scaled(3000);
  start(200);
  std::atomic<u32> ended{0};
  const Handle keeper = spawn([] { (void)park(); });
  spawn([&] {
    Random r = random(0);
    std::vector<Handle> recent;
    for (u32 i = 0; i < threads; ++i) {
      Handle h;
      spawn_when_possible(
          [&ended, keeper, kind = i % 5] {
            Error e = Error::ok;
            // A join of the ended keeper is ok, also for a thread that is cancelled.
            while (e != Error::cancelled && !this_thread::cancelled()) {
              switch (kind) {
                case 0: e = park(); break;
                case 1: e = park(5us); break;
                case 2: e = sleep_for(3us); break;
                case 3: e = join(keeper); break;
                default: e = join(keeper, 4us);
              }
              EXPECT_TRUE(e == Error::cancelled || e == Error::timed_out || e == Error::ok);
            }
            EXPECT_TRUE(this_thread::cancelled());
            ended.fetch_add(1);
          },
          &h);
      recent.push_back(h);
      while (recent.size() > 100 || (!recent.empty() && r.one_in(3))) {
        const u32 victim = r.below(static_cast<u32>(recent.size()));
        EXPECT_EQ(cancel(recent[victim]), Error::ok);
        recent[victim] = recent.back();
        recent.pop_back();
      }
      if (r.one_in(8)) dawdle(r);
    }
    for (const Handle h : recent) EXPECT_EQ(cancel(h), Error::ok);
    for (const Handle h : recent) EXPECT_EQ(join(h), Error::ok);
    EXPECT_EQ(unpark(keeper), Error::ok);
  });
  run();
  EXPECT_EQ(ended.load(), threads);
}

}  // namespace
}  // namespace gvt::test
