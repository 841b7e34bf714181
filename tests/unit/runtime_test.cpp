// SPDX-License-Identifier: MIT
//
// runtime_test.cpp - the hosted API: start, spawn, names, yield, run, stop, shutdown, statistics.
// Waits are in wait_test.cpp.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gvthread/gvthread.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/death.hpp"
#include "tests/support/proc.hpp"
#include "tests/support/runtime_modes.hpp"

namespace gvt {
namespace {

using namespace std::chrono_literals;
using test::Mode;
using test::scaled;

class RuntimeTest : public test::RuntimeModes {};
GVT_INSTANTIATE_MODES(RuntimeTest);

std::string message_of(const Status& status, const char* source = "config") {
  char line[320];
  const std::size_t n = status.message(line, sizeof line, source);
  EXPECT_EQ(n, std::strlen(line));
  return line;
}

// ---- start ----

TEST(RuntimeStart, EveryBadFieldGetsOneClearLine) {
  const struct {
    Config config;
    const char* line;
  } cases[] = {
      {{.workers = 0}, "gvthread: flags: workers = 0 is out of range: 1 to 56"},
      {{.workers = 57}, "gvthread: flags: workers = 57 is out of range: 1 to 56"},
      {{.max_threads = 0}, "gvthread: flags: max_threads = 0 is out of range: 1 to 16777216"},
      {{.max_threads = 4294967295},
       "gvthread: flags: max_threads = 4294967295 is out of range: 1 to 16777216"},
      {{.slot_bytes = 8192},
       "gvthread: flags: slot_bytes = 8192 is out of range: 16384 to 1073741824, a power of two"},
      {{.slot_bytes = 65537},
       "gvthread: flags: slot_bytes = 65537 is out of range: 16384 to 1073741824, a power of two"},
      {{.max_threads = 65537, .slot_bytes = kMaxSlotBytes},
       "gvthread: flags: max_threads = 65537 is out of range: 1 to 65536, max_threads x slot_bytes "
       "at most 64 TiB"},
      {{.queue = static_cast<QueueKind>(9)}, "gvthread: flags: queue = 9 is out of range: 0 to 1"},
      {{.guards = static_cast<GuardMode>(9)},
       "gvthread: flags: guards = 9 is out of range: 0 to 3"},
  };
  for (const auto& c : cases) {
    Runtime runtime;
    const Status status = runtime.start(c.config);
    EXPECT_EQ(status.error, Error::bad_config);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(message_of(status, "flags"), c.line);
    EXPECT_FALSE(runtime.started());
    EXPECT_EQ(runtime.run(), Error::not_started);
  }
}

TEST(RuntimeStart, MessagesAreCutToTheBuffer) {
  Runtime runtime;
  const Status status = runtime.start({.workers = 0});
  char line[10];
  std::memset(line, 'x', sizeof line);
  EXPECT_EQ(status.message(line, sizeof line), 9u);
  EXPECT_STREQ(line, "gvthread:");
  EXPECT_EQ(status.message(line, 1), 0u);
  EXPECT_STREQ(line, "");
  EXPECT_EQ(status.message(nullptr, 0), 0u);
}

TEST(RuntimeStart, OtherErrorsHaveALineToo) {
  EXPECT_EQ(message_of({.error = Error::already_started}), "gvthread: config: already_started");
  EXPECT_EQ(message_of({.error = Error::thread_start, .os_errno = EAGAIN}),
            std::string("gvthread: config: thread_start: ") + std::strerror(EAGAIN));
  EXPECT_EQ(message_of({.error = Error::map_limit,
                        .field = {"guards", 1, 0, 3, "automatic, mprotect, none"}}),
            "gvthread: config: guards = madvise: this kernel has no MADV_GUARD_INSTALL (6.13); "
            "allowed: automatic, mprotect, none");
}

TEST(RuntimeStart, MoreGuardsThanTheKernelMaps) {
  if (test::number_after("/proc/sys/vm/max_map_count", "") > 1'000'000) GTEST_SKIP();
  Runtime runtime;
  const Status status = runtime.start(
      {.max_threads = 1'000'000, .slot_bytes = 64 * 1024, .guards = GuardMode::mprotect});
  EXPECT_EQ(status.error, Error::map_limit);
  EXPECT_GT(status.limit, 0u);
  EXPECT_FALSE(runtime.started());
  const std::string line = message_of(status);
  EXPECT_NE(line.find("config: max_threads = 1000000 is more guard pages"), std::string::npos)
      << line;
  EXPECT_NE(line.find(" 1 to " + std::to_string(status.limit) + " here (vm.max_map_count)"),
            std::string::npos)
      << line;
}

TEST(RuntimeStart, TwiceIsAnErrorAndChangesNothing) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 8, .slot_bytes = test::kTestSlotBytes}).ok());
  EXPECT_EQ(runtime.start({.max_threads = 9}).error, Error::already_started);
  EXPECT_EQ(runtime.config().max_threads, 8u);
  bool ran = false;
  EXPECT_TRUE(runtime.spawn([&] { ran = true; }).ok());
  EXPECT_EQ(runtime.run(), Error::ok);
  EXPECT_TRUE(ran);
}

TEST(RuntimeStart, EverythingIsNotStartedBeforeAndAfter) {
  Runtime runtime;
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(runtime.started());
    EXPECT_EQ(runtime.run(), Error::not_started);
    EXPECT_EQ(runtime.stop(), Error::not_started);
    EXPECT_EQ(runtime.shutdown(), Error::not_started);
    EXPECT_EQ(runtime.spawn([] {}).error(), Error::not_started);
    EXPECT_EQ(runtime.unpark({0, 1}), Error::not_started);
    EXPECT_EQ(runtime.cancel({0, 1}), Error::not_started);
    EXPECT_EQ(runtime.join({0, 1}), Error::not_started);
    EXPECT_EQ(runtime.stats().spawned, 0u);
    EXPECT_EQ(runtime.guards(), GuardMode::none);
    EXPECT_EQ(runtime.config().workers, Config{}.workers);
    if (i == 0) {
      ASSERT_TRUE(runtime.start({.max_threads = 8}).ok());
      EXPECT_EQ(runtime.shutdown(), Error::ok);
    }
  }
}

TEST(RuntimeStart, EverythingOutsideOfAGreenThreadIsWrongContext) {
  EXPECT_EQ(spawn([] {}).error(), Error::wrong_context);
  EXPECT_EQ(unpark({0, 1}), Error::wrong_context);
  EXPECT_EQ(cancel({0, 1}), Error::wrong_context);
  EXPECT_EQ(join({0, 1}), Error::wrong_context);
  EXPECT_EQ(park(), Error::wrong_context);
  EXPECT_EQ(park(1ms), Error::wrong_context);
  EXPECT_EQ(sleep_for(1ms), Error::wrong_context);
  EXPECT_EQ(sleep_for(-1ms), Error::wrong_context);
  EXPECT_EQ(sleep_until(Deadline::never()), Error::wrong_context);
  yield();
  EXPECT_FALSE(this_thread::id());
  EXPECT_STREQ(this_thread::name(), "");
  this_thread::set_name("nobody");
  EXPECT_STREQ(this_thread::name(), "");
  EXPECT_FALSE(this_thread::cancelled());
}

TEST_P(RuntimeTest, RunAndShutdownOnAGreenThreadAreWrongContext) {
  start();
  Error inner[2] = {};
  spawn([&] {
    inner[0] = runtime.run();
    inner[1] = runtime.shutdown();
  });
  run();
  EXPECT_EQ(inner[0], Error::wrong_context);
  EXPECT_EQ(inner[1], Error::wrong_context);
}

TEST(RuntimeStartDeathTest, TheDestructorOnAGreenThreadPanics) {
  EXPECT_PANIC(
      {
        Runtime outer;
        (void)outer.start({.max_threads = 2, .slot_bytes = test::kTestSlotBytes});
        (void)outer.spawn([] {
          Runtime inner;
          (void)inner.start({.max_threads = 2, .slot_bytes = test::kTestSlotBytes});
        });
        (void)outer.run();
      },
      "INV-RUN-1");
}

TEST(RuntimeStart, GuardModesAndNames) {
  for (const GuardMode mode :
       {GuardMode::automatic, GuardMode::madvise, GuardMode::mprotect, GuardMode::none}) {
    Runtime runtime;
    const Status status =
        runtime.start({.max_threads = 16, .slot_bytes = test::kTestSlotBytes, .guards = mode});
    if (mode == GuardMode::madvise && status.error == Error::map_limit) continue;
    ASSERT_TRUE(status.ok());
    EXPECT_NE(runtime.guards(), GuardMode::automatic);
    if (mode != GuardMode::automatic) {
      EXPECT_EQ(runtime.guards(), mode);
    }
    u32 ran = 0;
    for (int i = 0; i < 16; ++i) EXPECT_TRUE(runtime.spawn([&] { yield(), ++ran; }).ok());
    EXPECT_EQ(runtime.run(), Error::ok);
    EXPECT_EQ(ran, 16u);
  }
  EXPECT_STREQ(guard_mode_name(GuardMode::automatic), "automatic");
  EXPECT_STREQ(guard_mode_name(GuardMode::none), "none");
  EXPECT_STREQ(guard_mode_name(static_cast<GuardMode>(9)), "unknown");
  EXPECT_STREQ(queue_kind_name(QueueKind::simple), "simple");
  EXPECT_STREQ(queue_kind_name(static_cast<QueueKind>(9)), "unknown");
}

TEST(RuntimeStart, AnOverflowHitsTheGuard) {
  if (test::kSanitized) GTEST_SKIP() << "frames and handlers are the sanitizer's";
  EXPECT_DEATH(
      {
        Runtime runtime;
        (void)runtime.start({.max_threads = 4, .slot_bytes = kMinSlotBytes});
        (void)runtime.spawn([] {
          const auto recurse = [](const auto& self, int depth) -> int {
            volatile char frame[512];
            frame[0] = static_cast<char>(depth);
            return depth == 0 ? 0 : self(self, depth - 1) + frame[0];
          };
          volatile int sum = recurse(recurse, 1000);
          (void)sum;
        });
        (void)runtime.run();
        std::_Exit(0);
      },
      "");
}

// ---- run, drain, shutdown ----

TEST_P(RuntimeTest, RunWithNothingToDoReturns) {
  start();
  run();
  run();
  EXPECT_EQ(runtime.stats().spawned, 0u);
}

TEST_P(RuntimeTest, RunsWhatWasSpawnedAndWhatThatSpawns) {
  start(500);
  std::atomic<u32> ran{0};
  for (int i = 0; i < 20; ++i) {
    spawn([&] {
      ran.fetch_add(1);
      for (int j = 0; j < 4; ++j) {
        EXPECT_TRUE(gvt::spawn([&] {
                      yield();
                      ran.fetch_add(1);
                      EXPECT_TRUE(gvt::spawn([&] { ran.fetch_add(1); }).ok());
                    }).ok());
      }
    });
  }
  run();
  EXPECT_EQ(ran.load(), 20u + 80u + 80u);
  EXPECT_EQ(runtime.stats().spawned, 180u);
}

TEST_P(RuntimeTest, RunAgainAfterDrained) {
  start(4);
  for (u32 round = 1; round <= 50; ++round) {
    std::atomic<u32> ran{0};
    for (int i = 0; i < 3; ++i) spawn([&] { yield(), ran.fetch_add(1); });
    run();
    EXPECT_EQ(ran.load(), 3u);
    EXPECT_EQ(runtime.stats().ended, 3u * round);
  }
}

TEST_P(RuntimeTest, ShutdownAndStartAgain) {
  for (u32 round = 0; round < 10; ++round) {
    start(4 + round);
    EXPECT_EQ(runtime.config().max_threads, 4 + round);
    EXPECT_EQ(runtime.stats().spawned, 0u);  // counted from the start
    std::atomic<u32> ran{0};
    for (int i = 0; i < 3; ++i) spawn([&] { ran.fetch_add(1); });
    if (round % 2 == 0) run();
    EXPECT_EQ(runtime.shutdown(), Error::ok);
    EXPECT_EQ(ran.load(), 3u);  // threads that were spawned run even if run() was not called
  }
}

TEST_P(RuntimeTest, ShutdownLeavesNoOsThreadAndNoMapping) {
  start();
  (void)runtime.shutdown();  // whatever the C library keeps, it has by now
  const u64 threads = test::os_thread_count();
  const u64 maps = test::mapping_count();
  for (int i = 0; i < 5; ++i) {
    start();
    spawn([] { (void)sleep_for(1us); });
    EXPECT_EQ(runtime.shutdown(), Error::ok);
    EXPECT_EQ(test::os_thread_count(), threads);
  }
  EXPECT_LE(test::mapping_count(), maps + 4);
}

TEST_P(RuntimeTest, TheDestructorRunsEverythingToItsEnd) {
  std::atomic<u32> ended{0};
  {
    Runtime local;
    ASSERT_TRUE(local.start(test::config_for(GetParam())).ok());
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(local
                      .spawn([&] {
                        EXPECT_EQ(park(), Error::cancelled);
                        ended.fetch_add(1);
                      })
                      .ok());
    }
  }
  EXPECT_EQ(ended.load(), 5u);
}

TEST_P(RuntimeTest, WorkersOfTheirOwnNeedNoRun) {
  if (GetParam().caller_is_worker && GetParam().workers == 1) GTEST_SKIP() << "no such worker";
  start();
  std::atomic<u32> ran{0};
  std::vector<Handle> handles;
  for (int i = 0; i < 10; ++i) handles.push_back(spawn([&] { yield(), ran.fetch_add(1); }));
  for (const Handle h : handles) EXPECT_EQ(runtime.join(h), Error::ok);
  EXPECT_EQ(ran.load(), 10u);
}

TEST(RuntimeRun, ASingleWorkerOnTheCallerStartsNoOsThread) {
  const u64 before = test::os_thread_count();
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 8, .slot_bytes = test::kTestSlotBytes}).ok());
  u32 tid = 0;
  EXPECT_TRUE(runtime.spawn([&] { tid = test::own_tid(); }).ok());
  EXPECT_EQ(test::os_thread_count(), before);
  EXPECT_EQ(runtime.run(), Error::ok);
  EXPECT_EQ(tid, test::own_tid());
}

TEST(RuntimeRun, OneAfterTheOtherFromDifferentOsThreads) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 8, .slot_bytes = test::kTestSlotBytes}).ok());
  for (int i = 0; i < 5; ++i) {
    u32 ran_on = 0;
    std::thread([&] {
      EXPECT_TRUE(runtime.spawn([&] { yield(), ran_on = test::own_tid(); }).ok());
      EXPECT_EQ(runtime.run(), Error::ok);
      EXPECT_EQ(ran_on, test::own_tid());
    }).join();
  }
}

TEST_P(RuntimeTest, ASecondCallerOfRun) {
  start();
  const u32 workers = GetParam().workers;
  Error second = Error::ok;
  // A thread for each worker, which holds it until all are held: then the first caller is in run().
  // A worker of its own could be there before it, and the second caller would be the first.
  std::atomic<u32> held{0};
  for (u32 w = 0; w < workers; ++w) {
    spawn([&, w] {
      held.fetch_add(1);
      while (held.load() < workers) std::this_thread::yield();
      // It waits too where the workers are OS threads of their own: then it can't be awaited here.
      if (w != 0 || !GetParam().caller_is_worker) return;
      std::thread([&] { second = runtime.run(); }).join();
    });
  }
  run();
  EXPECT_EQ(second, GetParam().caller_is_worker ? Error::already_started : Error::ok);
  if (GetParam().caller_is_worker) return;
  const Handle h = spawn([] { EXPECT_EQ(park(), Error::ok); });
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] { EXPECT_EQ(runtime.run(), Error::ok); });
  }
  EXPECT_EQ(runtime.unpark(h), Error::ok);
  run();
  for (auto& t : waiters) t.join();
}

// The memory stays until the other OS thread has left run().
TEST_P(RuntimeTest, ShutdownWhileAnotherOsThreadRuns) {
  for (int round = 0; round < 20; ++round) {
    start();
    std::atomic<u32> ended{0};
    for (int i = 0; i < 10; ++i) {
      spawn([&] {
        EXPECT_EQ(park(), Error::cancelled);
        for (int n = 0; n < 100; ++n) yield();
        ended.fetch_add(1);
      });
    }
    std::atomic<u32> tid{0};
    std::thread runner([&] {
      tid = test::own_tid();
      EXPECT_EQ(runtime.run(), Error::ok);
    });
    // It sleeps in run() only.
    while (tid == 0 || !test::sleeps(tid)) std::this_thread::yield();
    EXPECT_EQ(runtime.shutdown(), Error::ok);
    EXPECT_EQ(ended.load(), 10u);
    runner.join();
  }
}

TEST_P(RuntimeTest, SpawnFromOutsideWhileItRuns) {
  start(256);
  const u32 count = scaled(2000);
  std::atomic<u32> ran{0};
  std::atomic<bool> go_on{true};
  spawn([&] {
    while (go_on) yield();
  });
  std::thread outside([&] {
    for (u32 i = 0; i < count;) {
      const auto h = runtime.spawn([&] { ran.fetch_add(1); });
      if (h.ok()) {
        ++i;
      } else {
        EXPECT_EQ(h.error(), Error::no_slot);
        std::this_thread::yield();
      }
    }
    go_on = false;
  });
  run();
  outside.join();
  run();
  EXPECT_EQ(ran.load(), count);
}

TEST(RuntimeRun, SeveralRuntimesAtOnce) {
  constexpr u32 kRuntimes = 3;
  std::array<Runtime, kRuntimes> runtimes;
  std::array<std::atomic<u32>, kRuntimes> ran{};
  for (Runtime& r : runtimes) {
    ASSERT_TRUE(r.start({.workers = 2,
                         .max_threads = 32,
                         .slot_bytes = test::kTestSlotBytes,
                         .caller_is_worker = false})
                    .ok());
  }
  // Threads of the first runtime spawn and unpark threads of the others.
  for (u32 i = 0; i < 8; ++i) {
    EXPECT_TRUE(runtimes[0]
                    .spawn([&] {
                      for (u32 r = 1; r < kRuntimes; ++r) {
                        const auto h = runtimes[r].spawn([&ran, r] {
                          EXPECT_EQ(park(), Error::ok);
                          ran[r].fetch_add(1);
                        });
                        ASSERT_TRUE(h.ok());
                        yield();
                        EXPECT_EQ(runtimes[r].unpark(h.value()), Error::ok);
                      }
                      ran[0].fetch_add(1);
                    })
                    .ok());
  }
  for (Runtime& r : runtimes) EXPECT_EQ(r.run(), Error::ok);
  for (auto& n : ran) EXPECT_EQ(n.load(), 8u);
  EXPECT_EQ(runtimes[0].stats().ended, 8u);
  EXPECT_EQ(runtimes[1].stats().ended, 8u);
}

// A green thread of one runtime joins one of another; both go on, each on its own workers.
TEST(RuntimeRun, JoinAcrossRuntimes) {
  Runtime a;
  Runtime b;
  const Config config{.workers = 1,
                      .max_threads = 8,
                      .slot_bytes = test::kTestSlotBytes,
                      .caller_is_worker = false};
  ASSERT_TRUE(a.start(config).ok());
  ASSERT_TRUE(b.start(config).ok());
  std::atomic<u32> done{0};
  const auto sleeper = b.spawn([] { EXPECT_EQ(sleep_for(5ms), Error::ok); });
  ASSERT_TRUE(sleeper.ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(a.spawn([&] {
                   const Handle self = this_thread::id();
                   EXPECT_EQ(b.join(sleeper.value()), Error::ok);
                   EXPECT_EQ(this_thread::id(), self);
                   yield();
                   done.fetch_add(1);
                 }).ok());
  }
  EXPECT_EQ(a.run(), Error::ok);
  EXPECT_EQ(b.run(), Error::ok);
  EXPECT_EQ(done.load(), 3u);
}

// ---- spawn ----

TEST_P(RuntimeTest, CallablesOfEachKind) {
  start();
  static std::atomic<u32> ran;
  ran = 0;
  struct Functor {
    void operator()() { ran.fetch_add(1); }
  };
  struct ConstFunctor {
    void operator()() const { ran.fetch_add(1); }
  };
  spawn([] { ran.fetch_add(1); });
  spawn(+[] { ran.fetch_add(1); });  // a function pointer
  spawn(Functor{});
  const ConstFunctor named;
  spawn(named);
  spawn([]() mutable { return ran.fetch_add(1); });  // its result is dropped
  run();
  EXPECT_EQ(ran.load(), 5u);
}

struct Counted {
  static inline std::atomic<int> alive{0};
  static inline std::atomic<int> destroyed{0};
  Counted() { alive.fetch_add(1); }
  Counted(Counted&&) noexcept { alive.fetch_add(1); }
  Counted(const Counted&) noexcept { alive.fetch_add(1); }
  ~Counted() {
    alive.fetch_sub(1);
    destroyed.fetch_add(1);
  }
};

TEST_P(RuntimeTest, MoveOnlyCapturesAndDestructorsExactlyOnce) {
  start();
  std::atomic<int> sum{0};
  for (int i = 0; i < 10; ++i) {
    spawn([&sum, p = std::make_unique<int>(i), c = Counted()] {
      yield();
      sum.fetch_add(*p);
    });
  }
  run();
  EXPECT_EQ(sum.load(), 45);
  EXPECT_EQ(Counted::alive.load(), 0);
  const auto shared = std::make_shared<int>(1);
  for (int i = 0; i < 10; ++i) spawn([shared] { yield(); });
  run();
  EXPECT_EQ(shared.use_count(), 1);
}

TEST_P(RuntimeTest, TheCallableIsDestroyedBeforeTheThreadHasEnded) {
  start();
  auto shared = std::make_shared<int>(1);
  const Handle inner = spawn([shared] { yield(); });
  spawn([&, inner] {
    EXPECT_EQ(join(inner), Error::ok);
    EXPECT_EQ(shared.use_count(), 1);
  });
  run();
}

TEST_P(RuntimeTest, ACallableThatIsRefusedIsNotTouched) {
  start(1);
  std::atomic<bool> go_on{false};
  spawn([&] {
    while (!go_on) yield();
  });
  auto token = std::make_unique<int>(7);
  auto callable = [t = std::move(token)] {};
  EXPECT_EQ(runtime.spawn(std::move(callable)).error(), Error::no_slot);
  go_on = true;
  run();
}

TEST_P(RuntimeTest, FortyEightBytesFit) {
  start();
  struct Big {
    u64 value[5];
    std::atomic<u64>* sum;
    void operator()() const {
      for (const u64 v : value) sum->fetch_add(v);
    }
  };
  static_assert(sizeof(Big) == kMaxCallableBytes);
  struct alignas(16) Aligned {
    std::atomic<u64>* sum;
    void operator()() const { sum->fetch_add(reinterpret_cast<usize>(this) % 16 == 0 ? 1 : 1000); }
  };
  std::atomic<u64> sum{0};
  for (u64 i = 0; i < 8; ++i) spawn(Big{{i, i, i, i, i}, &sum});
  spawn(Aligned{&sum});
  run();
  EXPECT_EQ(sum.load(), 5u * 28u + 1u);
}

#if defined(__cpp_exceptions)
TEST_P(RuntimeTest, ACallableWhoseCopyThrowsLeavesNothingBehind) {
  start(2);
  struct Throws {
    Throws() = default;
    Throws(const Throws&) { throw 7; }
    void operator()() const {}
  };
  const Throws throws;
  for (int i = 0; i < 10; ++i) EXPECT_THROW((void)runtime.spawn(throws), int);
  u32 ran = 0;
  std::atomic<u32> both{0};
  spawn([&] { both.fetch_add(1); });
  spawn([&] { both.fetch_add(1); });
  run();
  EXPECT_EQ(both.load(), 2u);
  EXPECT_EQ(runtime.stats().spawned, 2u);
  (void)ran;
}

// Exceptions may be thrown and caught on a green thread, also past calls of the library.
TEST_P(RuntimeTest, ExceptionsStayOnTheirStack) {
  start();
  std::atomic<u32> caught{0};
  for (int i = 0; i < 10; ++i) {
    spawn([&, i] {
      try {
        yield();
        throw i;
      } catch (const int value) {
        EXPECT_EQ(value, i);
        caught.fetch_add(1);
      }
      yield();
    });
  }
  run();
  EXPECT_EQ(caught.load(), 10u);
}

TEST(RuntimeSpawnDeathTest, AnExceptionThatLeavesTheCallableEndsTheProgram) {
  EXPECT_DEATH(
      {
        Runtime runtime;
        (void)runtime.start({.max_threads = 2, .slot_bytes = test::kTestSlotBytes});
        (void)runtime.spawn([] { throw 1; });
        (void)runtime.run();
      },
      "terminate");
}
#endif

TEST_P(RuntimeTest, WhatTheSpawnerWroteIsVisible) {
  start(1024);
  const u32 count = test::scaled_threads(1000);
  std::vector<u32> cells(count, 0);
  std::atomic<u32> right{0};
  for (u32 i = 0; i < count; ++i) {
    cells[i] = i;
    spawn([&, i] {
      if (cells[i] == i) right.fetch_add(1);
    });
  }
  run();
  EXPECT_EQ(right.load(), count);
}

TEST_P(RuntimeTest, NoSlotExactlyAtMaxThreadsAndRecovers) {
  for (const u32 max : {1u, 2u, 3u, 33u}) {
    ASSERT_TRUE(runtime.start(test::config_for(GetParam(), max)).ok());
    for (int round = 0; round < 5; ++round) {
      for (u32 i = 0; i < max; ++i) spawn([] { EXPECT_EQ(park(), Error::ok); });
      EXPECT_EQ(runtime.spawn([] {}).error(), Error::no_slot);
      EXPECT_EQ(runtime.spawn([] {}).error(), Error::no_slot);
      // Generations: one more each round.
      for (u32 id = 0; id < max; ++id)
        EXPECT_EQ(runtime.unpark({id, static_cast<u32>(round) + 1}), Error::ok);
      run();
    }
    EXPECT_EQ(runtime.stats().spawned, 5 * max);
    EXPECT_EQ(runtime.shutdown(), Error::ok);
  }
}

TEST_P(RuntimeTest, NoSlotOnAGreenThreadThenWaitsAndCompletes) {
  start(4);
  std::atomic<u32> ran{0};
  const u32 count = scaled(2000);
  spawn([&] {
    for (u32 i = 0; i < count;) {
      const auto h = gvt::spawn([&] { ran.fetch_add(1); });
      if (h.ok()) {
        ++i;
      } else {
        EXPECT_EQ(h.error(), Error::no_slot);
        yield();
      }
    }
  });
  run();
  EXPECT_EQ(ran.load(), count);
}

// ---- identity and names ----

TEST_P(RuntimeTest, IdsAreTheHandlesThatSpawnReturned) {
  start();
  std::array<Handle, 20> seen{};
  std::array<Handle, 20> handles{};
  for (u32 i = 0; i < 20; ++i) {
    handles[i] = spawn([&seen, i] {
      seen[i] = this_thread::id();
      yield();
      EXPECT_EQ(this_thread::id(), seen[i]);
    });
    EXPECT_TRUE(handles[i]);
  }
  run();
  for (u32 i = 0; i < 20; ++i) EXPECT_EQ(seen[i], handles[i]);
  for (u32 i = 0; i < 20; ++i)
    for (u32 j = 0; j < i; ++j) EXPECT_NE(handles[i], handles[j]);
}

TEST_P(RuntimeTest, Names) {
  start(1);
  const auto name_seen = [&](const char* given, const char* set = nullptr) {
    std::string seen;
    spawn(
        [&seen, set] {
          if (set != nullptr) this_thread::set_name(set);
          yield();
          seen = this_thread::name();
        },
        given);
    EXPECT_EQ(runtime.run(), Error::ok);
    return seen;
  };
  const std::string longest(31, 'n');
  EXPECT_EQ(name_seen("a name"), "a name");
  EXPECT_EQ(name_seen(nullptr), "");  // the slot is reused: no old name
  EXPECT_EQ(name_seen(longest.c_str()), longest);
  EXPECT_EQ(name_seen((longest + "x").c_str()), longest);  // cut
  EXPECT_EQ(name_seen(std::string(500, 'n').c_str()), longest);
  EXPECT_EQ(name_seen(""), "");
  EXPECT_EQ(name_seen(nullptr, "set later"), "set later");
  EXPECT_EQ(name_seen("first", "second"), "second");
  EXPECT_EQ(name_seen("first", ""), "");
  EXPECT_EQ(name_seen(nullptr), "");
}

TEST_P(RuntimeTest, ANullNameRemovesTheName) {
  start(1);
  spawn(
      [] {
        EXPECT_STREQ(this_thread::name(), "first");
        this_thread::set_name(nullptr);
        EXPECT_STREQ(this_thread::name(), "");
      },
      "first");
  run();
}

// ---- yield and statistics ----

TEST(RuntimeYield, ThreadsOfOneWorkerTakeTurns) {
  for (const QueueKind queue : {QueueKind::simple, QueueKind::lock_free}) {
    Runtime runtime;
    ASSERT_TRUE(
        runtime.start({.max_threads = 8, .slot_bytes = test::kTestSlotBytes, .queue = queue}).ok());
    std::string order;
    for (const char c : {'a', 'b', 'c'}) {
      EXPECT_TRUE(runtime
                      .spawn([&order, c] {
                        for (int i = 0; i < 3; ++i) {
                          order += c;
                          yield();
                        }
                      })
                      .ok());
    }
    EXPECT_EQ(runtime.run(), Error::ok);
    EXPECT_EQ(order, "abcabcabc");
  }
}

TEST_P(RuntimeTest, StatisticsAddUp) {
  start();
  constexpr u32 kThreads = 20;
  constexpr u32 kYields = 10;
  for (u32 i = 0; i < kThreads; ++i) {
    spawn([] {
      for (u32 y = 0; y < kYields; ++y) yield();
      EXPECT_EQ(sleep_for(100us), Error::ok);
    });
  }
  run();
  const Stats s = runtime.stats();
  EXPECT_EQ(s.spawned, kThreads);
  EXPECT_EQ(s.started, kThreads);
  EXPECT_EQ(s.ended, kThreads);
  EXPECT_EQ(s.yields, kThreads * kYields);
  EXPECT_EQ(s.parks, kThreads);
  EXPECT_LE(s.timeouts, kThreads);
  EXPECT_GE(s.switches, kThreads + s.parks);
  EXPECT_LE(s.switches, kThreads + s.parks + s.yields);
  EXPECT_LE(s.steals, s.switches);
}

TEST_P(RuntimeTest, StatisticsCanBeReadFromAnywhere) {
  start(256);
  std::atomic<bool> go_on{true};
  std::thread reader([&] {
    u64 last = 0;
    while (go_on) {
      const Stats s = runtime.stats();
      EXPECT_GE(s.yields, last);
      last = s.yields;
    }
  });
  for (int i = 0; i < 20; ++i) {
    spawn([] {
      for (u32 y = 0; y < scaled(2000); ++y) yield();
      (void)this_thread::id();
    });
  }
  run();
  go_on = false;
  reader.join();
}

// ---- migration ----

// current_worker() after a switch is the one of the OS thread that runs now.
TEST(RuntimeMigration, ThreadsMoveBetweenWorkersAndGoOn) {
  Runtime runtime;
  ASSERT_TRUE(
      runtime.start({.workers = 3, .max_threads = 64, .slot_bytes = test::kTestSlotBytes}).ok());
  std::atomic<u32> moved{0};
  std::atomic<u32> rounds{0};
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(runtime
                    .spawn([&] {
                      const Handle self = this_thread::id();
                      u32 tid = test::own_tid();
                      while (moved.load() < 20 && rounds.fetch_add(1) < 200'000) {
                        if (rounds.load() % 16 == 0) (void)sleep_for(10us);
                        yield();
                        const u32 now = test::own_tid();
                        if (now != tid) moved.fetch_add(1);
                        tid = now;
                        EXPECT_EQ(this_thread::id(), self);
                      }
                    })
                    .ok());
  }
  EXPECT_EQ(runtime.run(), Error::ok);
  EXPECT_GE(moved.load(), 20u);
}

// ---- stop ----

TEST_P(RuntimeTest, SpawnAfterStopIsStopped) {
  start();
  EXPECT_EQ(runtime.stop(), Error::ok);
  EXPECT_EQ(runtime.stop(), Error::ok);
  EXPECT_EQ(runtime.spawn([] {}).error(), Error::stopped);
  run();
  EXPECT_EQ(runtime.stats().spawned, 0u);
  EXPECT_TRUE(runtime.started());
  EXPECT_EQ(runtime.shutdown(), Error::ok);
}

TEST_P(RuntimeTest, StopFromAGreenThread) {
  start();
  std::atomic<u32> cancelled{0};
  for (int i = 0; i < 10; ++i) {
    spawn([&] {
      if (park() == Error::cancelled) cancelled.fetch_add(1);
      EXPECT_TRUE(this_thread::cancelled());
      EXPECT_EQ(park(), Error::cancelled);  // each later wait too
      EXPECT_EQ(sleep_for(1h), Error::cancelled);
      yield();
    });
  }
  spawn([&] {
    yield();
    EXPECT_FALSE(this_thread::cancelled());
    EXPECT_EQ(runtime.stop(), Error::ok);
    EXPECT_TRUE(this_thread::cancelled());
    EXPECT_EQ(gvt::spawn([] {}).error(), Error::stopped);
  });
  run();
  EXPECT_EQ(cancelled.load(), 10u);
}

}  // namespace

// ---- traps ----

namespace {

// Threads in every kind of wait, and one that has not begun: stop ends all of them.
void stop_with_parked_threads(const Mode& mode) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start(test::config_for(mode)).ok());
  std::atomic<u32> waiting{0};
  std::atomic<u32> cancelled{0};
  const auto wait_with = [&](auto wait) {
    return [&, wait] {
      waiting.fetch_add(1);
      if (wait() == Error::cancelled) cancelled.fetch_add(1);
    };
  };
  const auto target = runtime.spawn(wait_with([] { return park(); }));
  ASSERT_TRUE(target.ok());
  const Handle t = target.value();
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(runtime.spawn(wait_with([] { return park(); })).ok());
    EXPECT_TRUE(runtime.spawn(wait_with([] { return park(1h); })).ok());
    EXPECT_TRUE(runtime.spawn(wait_with([] { return sleep_for(1h); })).ok());
    EXPECT_TRUE(runtime
                    .spawn(wait_with([t] {
                      // The target ends by the same stop: either is right.
                      const Error e = join(t);
                      return e == Error::ok ? Error::cancelled : e;
                    }))
                    .ok());
  }
  std::thread stopper([&] {
    while (waiting.load() < 21) std::this_thread::yield();
    EXPECT_EQ(runtime.stop(), Error::ok);
  });
  EXPECT_EQ(runtime.run(), Error::ok);
  stopper.join();
  EXPECT_EQ(cancelled.load(), 21u);
}

TEST(Trap, StopWithParkedThreads) {
  for (const u32 workers : {1u, 2u, 3u})
    for (const bool caller : {true, false})
      for (const QueueKind queue : {QueueKind::simple, QueueKind::lock_free})
        stop_with_parked_threads({workers, caller, queue});
}

TEST(Trap, StopWhileSpawning) {
  for (int round = 0; round < 20; ++round) {
    Runtime runtime;
    ASSERT_TRUE(runtime
                    .start({.workers = 2,
                            .max_threads = 400,
                            .slot_bytes = test::kTestSlotBytes,
                            .caller_is_worker = false})
                    .ok());
    std::atomic<u32> spawned{0};
    std::atomic<u32> ended{0};
    std::vector<std::thread> spawners;
    for (int t = 0; t < 3; ++t) {
      spawners.emplace_back([&] {
        for (;;) {
          const auto h = runtime.spawn([&] {
            EXPECT_EQ(park(), Error::cancelled);  // a thread that misses the stop waits for ever
            ended.fetch_add(1);
          });
          if (h.ok()) {
            spawned.fetch_add(1);
          } else if (h.error() == Error::stopped) {
            return;
          } else {
            EXPECT_EQ(h.error(), Error::no_slot);
            std::this_thread::yield();
          }
        }
      });
    }
    while (spawned.load() < 20u * static_cast<u32>(round)) std::this_thread::yield();
    EXPECT_EQ(runtime.stop(), Error::ok);
    EXPECT_EQ(runtime.stop(), Error::ok);
    for (auto& t : spawners) t.join();
    EXPECT_EQ(runtime.run(), Error::ok);
    EXPECT_EQ(ended.load(), spawned.load());
  }
}

// A push wakes an idle worker: the main OS thread runs nothing itself here.
TEST(Trap, PushThatWakesNobody) {
  for (const QueueKind queue : {QueueKind::simple, QueueKind::lock_free}) {
    Runtime runtime;
    ASSERT_TRUE(runtime
                    .start({.workers = 2,
                            .max_threads = 8,
                            .slot_bytes = test::kTestSlotBytes,
                            .queue = queue,
                            .caller_is_worker = false})
                    .ok());
    for (u32 i = 0; i < 50; ++i) {
      if (i % 10 == 0) std::this_thread::sleep_for(2ms);  // both workers sleep by now
      bool ran = false;
      const auto h = runtime.spawn([&ran] { ran = true; });
      ASSERT_TRUE(h.ok());
      ASSERT_EQ(runtime.join(h.value()), Error::ok);
      EXPECT_TRUE(ran);
    }
    // A thread that makes another ready and goes on: the other worker takes it.
    std::atomic<bool> seen{false};
    EXPECT_TRUE(runtime
                    .spawn([&] {
                      EXPECT_TRUE(gvt::spawn([&] { seen = true; }).ok());
                      while (!seen) {
                      }
                    })
                    .ok());
    EXPECT_EQ(runtime.run(), Error::ok);
  }
}

// Documented: the child of a fork has only the calling OS thread; it may exec or _exit.
TEST(Trap, Fork) {
  if (test::kTsan) GTEST_SKIP() << "not supported after a fork of several OS threads";
  Runtime runtime;
  ASSERT_TRUE(
      runtime.start({.workers = 2, .max_threads = 8, .slot_bytes = test::kTestSlotBytes}).ok());
  EXPECT_TRUE(runtime.spawn([] { (void)sleep_for(2ms); }).ok());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(42);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
  EXPECT_EQ(runtime.run(), Error::ok);
  // From a green thread too.
  pid_t from_green = -1;
  EXPECT_TRUE(runtime
                  .spawn([&] {
                    from_green = fork();
                    if (from_green == 0) _exit(43);
                  })
                  .ok());
  EXPECT_EQ(runtime.run(), Error::ok);
  ASSERT_EQ(waitpid(from_green, &status, 0), from_green);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 43);
}

}  // namespace
}  // namespace gvt
