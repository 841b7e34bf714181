// SPDX-License-Identifier: MIT
//
// spin_lock_test.cpp - core/spin_lock.hpp: mutual exclusion, also with more OS threads than cores.
#include "core/spin_lock.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/ports.hpp"

namespace gvt::core {
namespace {

using test::CountingPort;

template <class P>
u64 count_in_parallel(u32 os_threads, u32 rounds) {
  SpinLock<P> lock;
  u64 shared = 0;  // not atomic: only the lock protects it
  std::vector<std::thread> threads;
  for (u32 t = 0; t < os_threads; ++t) {
    threads.emplace_back([&] {
      for (u32 i = 0; i < rounds; ++i) {
        LockGuard<P> guard(lock);
        shared = shared + 1;
      }
    });
  }
  for (auto& t : threads) t.join();
  return shared;
}

TEST(SpinLock, LockAndUnlockAgain) {
  SpinLock<LinuxPort> lock;
  for (int i = 0; i < 3; ++i) {
    lock.lock();
    lock.unlock();
  }
  static_assert(sizeof(lock) == 1);
}

TEST(SpinLock, TwoOsThreadsExcludeEachOther) {
  const u32 rounds = test::scaled(200'000);
  EXPECT_EQ(count_in_parallel<LinuxPort>(2, rounds), 2u * rounds);
}

TEST(SpinLock, ManyMoreOsThreadsThanCores) {
  const u32 rounds = test::scaled(20'000);
  EXPECT_EQ(count_in_parallel<LinuxPort>(16, rounds), 16u * rounds);
}

// The holder has lost its CPU (it sleeps): a waiter spins a bounded number of times, then gives
// the CPU up through the port.
TEST(Trap, SpinLockHolderLostItsCpu) {
  SpinLock<CountingPort> lock;
  CountingPort::relinquished = 0;
  lock.lock();
  std::atomic<bool> got{false};
  std::thread waiter([&] {
    LockGuard<CountingPort> guard(lock);
    got = true;
  });
  while (CountingPort::relinquished.load() < 3) std::this_thread::yield();
  EXPECT_FALSE(got.load());
  lock.unlock();
  waiter.join();
  EXPECT_TRUE(got.load());
}

TEST(SpinLock, NobodyRelinquishesWithoutContention) {
  CountingPort::relinquished = 0;
  SpinLock<CountingPort> lock;
  for (int i = 0; i < 1000; ++i) LockGuard<CountingPort> guard(lock);
  EXPECT_EQ(CountingPort::relinquished.load(), 0u);
}

// ORD-LOCK-1: what the holder wrote is seen by the next one.
TEST(SpinLock, OrdersTheHoldersWrites) {
  SpinLock<LinuxPort> lock;
  u64 a = 0;
  u64 b = 0;
  const u32 rounds = test::scaled(100'000);
  const auto work = [&] {
    for (u32 i = 0; i < rounds; ++i) {
      LockGuard<LinuxPort> guard(lock);
      ASSERT_EQ(a, b);
      ++a;
      ++b;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(a, 2u * rounds);
}

}  // namespace
}  // namespace gvt::core
