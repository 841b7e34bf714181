// SPDX-License-Identifier: MIT
//
// scheduler_test.cpp - core/scheduler.hpp put together from the Linux port and tiny queues: what
// the hosted API does not show. Its calls are visible to the compiler here, as nowhere else.
#include "core/scheduler.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "core/audit.hpp"
#include "core/lock_free_ready_queue.hpp"
#include "core/simple_ready_queue.hpp"
#include "gvthread/kernel.hpp"
#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

template <template <class, class, u32> class Q, u32 capacity>
struct TinyParts {
  using Port = LinuxPort;
  using Queue = Q<LinuxPort, KernelThread, capacity>;
  using Memory = platform_linux::Memory;
};

template <class Parts>
struct Rig {
  using Sched = Scheduler<Parts>;

  explicit Rig(u32 workers, u32 max_threads, u32 warm_stacks = 4096)
      : config{.workers = workers,
               .max_threads = max_threads,
               .slot_bytes = test::kTestSlotBytes,
               .warm_stacks = warm_stacks} {
    EXPECT_EQ(memory.map(config, Sched::required_bytes(config)).error, Error::ok);
    kernel.init(config, memory.kernel_memory(), &memory);
  }
  ~Rig() { memory.unmap(); }

  template <class F>
  Result<Handle> spawn(F f) {
    static_assert(sizeof(F) <= kInlineCallableBytes);
    const Result<KernelThread*> slot = kernel.reserve();
    if (!slot.ok()) return slot.error();
    new (kernel.callable(*slot.value())) F(f);
    return kernel.publish(
        *slot.value(),
        [](void* callable) noexcept {
          auto* c = static_cast<F*>(callable);
          (*c)();
          c->~F();
        },
        nullptr);
  }
  // All workers but the first on OS threads of their own, until all threads have ended.
  void run() {
    std::vector<std::thread> others;
    for (u32 w = 1; w < config.workers; ++w) {
      others.emplace_back([this, w] { EXPECT_EQ(kernel.run_worker(w, false), Error::ok); });
    }
    EXPECT_EQ(kernel.run_worker(0, true), Error::ok);
    kernel.quit();
    for (auto& t : others) t.join();
    EXPECT_TRUE(kernel.all_ended());
  }

  Finding audit() const {
    std::vector<u8> scratch(config.max_threads);
    return Auditor<Parts>(kernel, config, memory.kernel_memory(), &memory).full(scratch.data());
  }

  Config config;
  platform_linux::Memory memory;
  Sched kernel;
};

template <class Parts>
class SchedulerTest : public testing::Test {};
using AllParts = testing::Types<TinyParts<SimpleReadyQueue, 2>, TinyParts<SimpleReadyQueue, 4>,
                                TinyParts<LockFreeReadyQueue, 2>, TinyParts<LockFreeReadyQueue, 4>>;
TYPED_TEST_SUITE(SchedulerTest, AllParts);

TYPED_TEST(SchedulerTest, NothingToDo) {
  for (u32 workers = 1; workers <= 3; ++workers) {
    Rig<TypeParam> rig(workers, 4);
    rig.run();
    EXPECT_EQ(rig.kernel.count(Count::spawned), 0u);
  }
}

TYPED_TEST(SchedulerTest, ManyMoreThreadsThanTheQueueHolds) {
  for (u32 workers = 1; workers <= 3; ++workers) {
    Rig<TypeParam> rig(workers, 100);
    std::atomic<u32> ran{0};
    for (u32 i = 0; i < 100; ++i) {
      ASSERT_TRUE(rig.spawn([&] {
                       for (int y = 0; y < 10; ++y) Scheduler<TypeParam>::yield();
                       ran.fetch_add(1);
                     })
                      .ok());
    }
    EXPECT_EQ(rig.spawn([] {}).error(), Error::no_slot);
    rig.run();
    EXPECT_EQ(ran.load(), 100u);
    EXPECT_EQ(rig.kernel.count(Count::ended), 100u);
    EXPECT_EQ(rig.kernel.count(Count::yields), 1000u);
    EXPECT_TRUE(rig.audit().ok());
  }
}

TYPED_TEST(SchedulerTest, SlotsAreReusedForEver) {
  Rig<TypeParam> rig(2, 2);
  std::atomic<u32> ran{0};
  ASSERT_TRUE(rig.spawn([&] {
                   for (u32 i = 0; i < test::scaled(2000);) {
                     if (!rig.spawn([&] { ran.fetch_add(1); }).ok()) {
                       Scheduler<TypeParam>::yield();
                     } else {
                       ++i;
                     }
                   }
                 })
                  .ok());
  rig.run();
  EXPECT_EQ(ran.load(), test::scaled(2000));
}

TYPED_TEST(SchedulerTest, StacksAboveTheWatermarkAreGivenBack) {
  Rig<TypeParam> rig(1, 500, 0);
  for (int round = 0; round < 3; ++round) {
    u32 ran = 0;
    for (u32 i = 0; i < test::scaled_threads(500); ++i) {
      ASSERT_TRUE(rig.spawn([&] {
                       Scheduler<TypeParam>::yield();
                       ++ran;
                     })
                      .ok());
    }
    rig.run();
    EXPECT_EQ(ran, test::scaled_threads(500));
  }
}

TYPED_TEST(SchedulerTest, ParkUnparkInARing) {
  constexpr u32 kThreads = 10;
  for (u32 workers = 1; workers <= 3; ++workers) {
    Rig<TypeParam> rig(workers, kThreads);
    struct Shared {
      Rig<TypeParam>* rig;
      Handle handles[kThreads];
      std::atomic<u32> hops{0};
    } shared{&rig, {}, {}};
    constexpr u32 kRounds = test::scaled(200) + 1;
    for (u32 i = 0; i < kThreads; ++i) {
      const auto h = rig.spawn([&shared, i] {
        for (u32 r = 0; r < kRounds; ++r) {
          EXPECT_EQ(Scheduler<TypeParam>::park(kNever), Error::ok);
          shared.hops.fetch_add(1);
          EXPECT_NE(shared.rig->kernel.unpark(shared.handles[(i + 1) % kThreads]),
                    Error::wrong_context);
        }
      });
      ASSERT_TRUE(h.ok());
      shared.handles[i] = h.value();
    }
    EXPECT_EQ(rig.kernel.unpark(shared.handles[0]), Error::ok);
    rig.run();
    EXPECT_EQ(shared.hops.load(), kThreads * kRounds);
  }
}

TYPED_TEST(SchedulerTest, ALateSpawnFromOutsideIsRunByAnIdleWorker) {
  Rig<TypeParam> rig(2, 4);
  std::thread other([&] { EXPECT_EQ(rig.kernel.run_worker(1, false), Error::ok); });
  std::atomic<u32> ran{0};
  for (u32 i = 0; i < 20; ++i) {
    const auto h = rig.spawn([&] { ran.fetch_add(1); });
    ASSERT_TRUE(h.ok());
    EXPECT_EQ(rig.kernel.join(h.value(), kNever), Error::ok);  // worker 0 does not run
  }
  EXPECT_EQ(rig.kernel.wait_drained(), Error::ok);
  EXPECT_EQ(ran.load(), 20u);
  rig.kernel.quit();
  other.join();
}

TYPED_TEST(SchedulerTest, AnAbandonedReservationIsFreeAgain) {
  Rig<TypeParam> rig(1, 1);
  for (int i = 0; i < 3; ++i) {
    const auto slot = rig.kernel.reserve();
    ASSERT_TRUE(slot.ok());
    EXPECT_EQ(rig.kernel.reserve().error(), Error::no_slot);
    rig.kernel.abandon(*slot.value());
  }
  bool ran = false;
  ASSERT_TRUE(rig.spawn([&] { ran = true; }).ok());
  rig.run();
  EXPECT_TRUE(ran);
}

TYPED_TEST(SchedulerTest, OutsideOfAGreenThread) {
  using S = Scheduler<TypeParam>;
  EXPECT_EQ(S::park(kNever), Error::wrong_context);
  EXPECT_EQ(S::sleep_until(0), Error::wrong_context);
  EXPECT_EQ(S::current_thread(), nullptr);
  EXPECT_EQ(S::current_scheduler(), nullptr);
  S::yield();
  Rig<TypeParam> rig(1, 2);
  Error inner = Error::ok;
  Error waiting = Error::ok;
  ASSERT_TRUE(rig.spawn([&] {
                   inner = rig.kernel.run_worker(0, true);
                   waiting = rig.kernel.wait_drained();
                 })
                  .ok());
  rig.run();
  EXPECT_EQ(inner, Error::wrong_context);
  EXPECT_EQ(waiting, Error::wrong_context);
}

// ---- a compiler that sees into yield() ----

using Visible = TinyParts<LockFreeReadyQueue, 4>;
int g_counted;  // its address is never taken

TEST(Trap, GlobalKeptInARegisterAcrossAVisibleYield) {
  Rig<Visible> rig(1, 2);
  g_counted = 0;
  static int wrong;
  wrong = 0;
  ASSERT_TRUE(rig.spawn([] {
                   for (int i = 0; i < 100; ++i) {
                     const int before = g_counted;
                     Scheduler<Visible>::yield();
                     if (g_counted != before + 1) ++wrong;
                   }
                 })
                  .ok());
  ASSERT_TRUE(rig.spawn([] {
                   for (int i = 0; i < 100; ++i) {
                     ++g_counted;
                     Scheduler<Visible>::yield();
                   }
                 })
                  .ok());
  rig.run();
  EXPECT_EQ(wrong, 0);
}

// ---- memory ----

// The generation lies in the control block, never in pages that are given back: after all stacks
// have lost their pages, an old handle is still refused.
TEST(Trap, DiscardOverTheGeneration) {
  constexpr u32 kThreads = 200;
  Rig<Visible> rig(1, kThreads, 0);  // nothing stays warm
  std::vector<Handle> old;
  for (int round = 0; round < 3; ++round) {
    std::vector<Handle> now;
    for (u32 i = 0; i < kThreads; ++i) {
      const auto h = rig.spawn([] { Scheduler<Visible>::yield(); });
      ASSERT_TRUE(h.ok());
      now.push_back(h.value());
    }
    for (const Handle h : old) {
      EXPECT_EQ(rig.kernel.unpark(h), Error::stale);
      EXPECT_EQ(rig.kernel.cancel(h), Error::stale);
      EXPECT_EQ(rig.kernel.join(h, kNever), Error::ok);  // ended
    }
    rig.run();
    for (const Handle h : now) EXPECT_EQ(rig.kernel.unpark(h), Error::stale);
    old.insert(old.end(), now.begin(), now.end());
  }
}

// ---- timers ----

// A timer that is armed for the past, for now, and for a nanosecond: none is lost, none is early.
TEST(Trap, EarlyOrZeroTimer) {
  for (u32 workers = 1; workers <= 2; ++workers) {
    Rig<Visible> rig(workers, 64);
    std::atomic<u32> woken{0};
    for (u32 i = 0; i < 64; ++i) {
      ASSERT_TRUE(rig.spawn([&woken, i] {
                       const u64 now = LinuxPort::now_ns();
                       const u64 when = i % 4 == 0   ? 0
                                        : i % 4 == 1 ? now
                                        : i % 4 == 2 ? now + 1
                                                     : now + i * 10'000;
                       EXPECT_EQ(Scheduler<Visible>::sleep_until(when), Error::ok);
                       EXPECT_GE(LinuxPort::now_ns(), when);
                       EXPECT_EQ(Scheduler<Visible>::park(when), Error::timed_out);
                       woken.fetch_add(1);
                     })
                      .ok());
    }
    rig.run();
    EXPECT_EQ(woken.load(), 64u);
  }
}

// Also when it passed while the thread was on its way to parking.
TEST(SchedulerTimers, EveryTimeoutIsCounted) {
  Rig<Visible> rig(1, 64);
  for (u32 i = 0; i < 64; ++i) {
    ASSERT_TRUE(rig.spawn([] {
                     for (int r = 0; r < 10; ++r)
                       EXPECT_EQ(Scheduler<Visible>::sleep_until(0), Error::ok);
                   })
                    .ok());
  }
  rig.run();
  EXPECT_EQ(rig.kernel.count(Count::timeouts), 640u);
}

// ---- the end ----

// Says after each push from outside what the kernel thinks of it.
template <class P, class T, u32 capacity>
struct WatchedQueue : LockFreeReadyQueue<P, T, capacity> {
  void push_global(List<T>& batch) noexcept {
    LockFreeReadyQueue<P, T, capacity>::push_global(batch);
    if (after_push != nullptr) after_push();
  }
  inline static void (*after_push)() noexcept = nullptr;
};

// The thread may have run and ended before its pusher has woken a worker: the memory must stay.
TEST(SchedulerEnd, APushFromOutsideIsAGuestUntilItIsOver) {
  using Watched = TinyParts<WatchedQueue, 256>;
  static Scheduler<Watched>* kernel;
  static u32 seen;
  seen = 0;
  Rig<Watched> rig(1, 4);
  kernel = &rig.kernel;
  Watched::Queue::after_push = []() noexcept { seen += kernel->has_guests() ? 1 : 0; };
  EXPECT_FALSE(rig.kernel.has_guests());
  ASSERT_TRUE(rig.spawn([] { Scheduler<Watched>::yield(); }).ok());
  EXPECT_FALSE(rig.kernel.has_guests());
  Watched::Queue::after_push = nullptr;
  EXPECT_EQ(seen, 1u);
  rig.run();
  EXPECT_FALSE(rig.kernel.has_guests());
}

// ---- panics ----

TEST(SchedulerDeathTest, ABadConfigurationPanics) {
  Rig<Visible> rig(1, 2);
  Scheduler<Visible> other;
  Config bad = rig.config;
  bad.workers = 0;
  EXPECT_PANIC(other.init(bad, rig.memory.kernel_memory(), &rig.memory), "assertion");
}

TEST(SchedulerDeathTest, AStackPointerOutsideOfTheStackPanics) {
  EXPECT_PANIC(
      {
        Rig<Visible> rig(1, 2);
        static KernelThread* sleeper;
        (void)rig.spawn([] {
          sleeper = Scheduler<Visible>::current_thread();
          (void)Scheduler<Visible>::park(kNever);
        });
        (void)rig.spawn([] {
          Scheduler<Visible>::yield();
          sleeper->context.sp = &sleeper;
          (void)Scheduler<Visible>::current_scheduler()->unpark(sleeper->handle());
        });
        rig.run();
      },
      "INV-CTX-2");
}

TEST(SchedulerDeathTest, AThreadThatEndsOnAWorkerOfAnotherPanics) {
  EXPECT_PANIC(
      {
        Rig<Visible> rig(1, 2);
        (void)rig.spawn([] {
          static_cast<Scheduler<Visible>::Worker*>(LinuxPort::current())->current = nullptr;
        });
        rig.run();
      },
      "INV-CTX-2");
}

TEST(SchedulerDeathTest, AThreadThatEndsWithoutAStackPanics) {
  EXPECT_PANIC(
      {
        Rig<Visible> rig(1, 2);
        (void)rig.spawn(
            [] { Scheduler<Visible>::current_thread()->stack = KernelThread::kNoStack; });
        rig.run();
      },
      "INV-STACK-1");
}

TEST(SchedulerDeathTest, AnEndedThreadThatIsResumedPanics) {
  if (test::kSanitized) GTEST_SKIP() << "the sanitizer takes the stack of an ended thread away";
  EXPECT_PANIC(
      {
        Rig<Visible> rig(1, 2);
        (void)rig.spawn([] {
          Scheduler<Visible>::yield();  // the other one ends, and switches here
          auto* w = static_cast<Scheduler<Visible>::Worker*>(LinuxPort::current());
          w->post = Post::none;
          LinuxPort::switch_context(w->current->context, w->dead_context, w);
        });
        (void)rig.spawn([] {});
        rig.run();
      },
      "INV-SLOT-1");
}

}  // namespace
}  // namespace gvt::core
