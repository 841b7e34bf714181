// SPDX-License-Identifier: MIT
//
// system_test.cpp - platform/linux/system.hpp: the futex wait and the clock.
#include "platform/linux/system.hpp"

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <chrono>
#include <thread>

#include "gvthread/gvthread.hpp"
#include "tests/support/death.hpp"

namespace gvt::platform_linux {
namespace {

constexpr u64 kMs = 1'000'000;

TEST(System, TheClockIsMonotonic) {
  u64 last = System::now_ns();
  for (int i = 0; i < 100'000; ++i) {
    const u64 now = System::now_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(System, TheClockIsSteadyClock) {
  const auto steady = [] {
    return static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::steady_clock::now().time_since_epoch())
                                .count());
  };
  const u64 before = steady();
  const u64 now = System::now_ns();
  const u64 after = steady();
  EXPECT_LE(before, now);
  EXPECT_LE(now, after);
  const auto point = std::chrono::steady_clock::now();
  EXPECT_EQ(Deadline(point).ns(), static_cast<u64>(point.time_since_epoch().count()));
}

TEST(System, WaitReturnsAtOnceWhenTheWordDiffers) {
  std::atomic<u32> word{1};
  System::wait(word, 0, kNever);
  System::wait(word, 2, 0);
}

TEST(System, WaitReturnsAtOnceWhenTheDeadlineIsPast) {
  std::atomic<u32> word{0};
  System::wait(word, 0, 0);
  System::wait(word, 0, 1);
  System::wait(word, 0, System::now_ns());
}

TEST(System, WaitEndsAtItsDeadlineAndNotBefore) {
  PreciseTimers precise;
  std::atomic<u32> word{0};
  for (int i = 0; i < 20; ++i) {
    const u64 deadline = System::now_ns() + kMs / 2;
    System::wait(word, 0, deadline);
    // No wake and no signal here, so an early return would be the timer's.
    EXPECT_GE(System::now_ns(), deadline);
  }
}

TEST(System, WakeEndsAWait) {
  std::atomic<u32> word{0};
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    word.store(1, std::memory_order_release);
    System::wake(word);
  });
  while (word.load(std::memory_order_acquire) == 0) System::wait(word, 0, kNever);
  waker.join();
  System::wake(word);  // nobody waits: nothing
}

TEST(System, WaitAndWakeKeepErrno) {
  std::atomic<u32> word{1};
  errno = 4711;
  System::wait(word, 0, kNever);
  System::wait(word, 1, 0);
  System::wake(word);
  EXPECT_EQ(errno, 4711);
}

// A signal may end the wait early, and must not be taken for an error.
TEST(System, ASignalIsSurvived) {
  static std::atomic<u32> signals{0};
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) { signals.fetch_add(1); };
  sigaction(SIGUSR1, &action, &before);  // without SA_RESTART
  signals = 0;
  std::atomic<u32> word{0};
  std::atomic<bool> started{false};
  std::thread waiter([&] {
    started = true;
    while (word.load(std::memory_order_acquire) == 0) System::wait(word, 0, kNever);
  });
  while (!started) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    pthread_kill(waiter.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  word.store(1, std::memory_order_release);
  System::wake(word);
  waiter.join();
  EXPECT_GT(signals.load(), 0u);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(System, PreciseTimersGiveTheSlackBack) {
  const int before = prctl(PR_GET_TIMERSLACK);
  {
    PreciseTimers precise;
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK), 1);
  }
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK), before);
}

// A deadline that the system's timer took for "disarm" (0) or for the past must still end the wait,
// and one that is far away must not end it.
TEST(Trap, ZeroTimer) {
  std::atomic<u32> word{0};
  System::wait(word, 0, 0);
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    word.store(1, std::memory_order_release);
    System::wake(word);
  });
  while (word.load(std::memory_order_acquire) == 0) System::wait(word, 0, kNever - 1);
  waker.join();
}

TEST(SystemDeathTest, AnUnexpectedErrnoPanics) {
  void* page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_PANIC(System::wait(*static_cast<std::atomic<u32>*>(page), 0, kNever), "INV-PORT-1");
  System::wake(*static_cast<std::atomic<u32>*>(page));  // allowed: the word may be gone
  munmap(page, 4096);
}

}  // namespace
}  // namespace gvt::platform_linux
