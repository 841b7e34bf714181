// SPDX-License-Identifier: MIT
//
// start_failure_test.cpp - the system refuses a worker's OS thread, at every place in start(), and
// refuses the reservation. pthread_create is wrapped by the linker (tests/CMakeLists.txt).
#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <gvthread/gvthread.hpp>

#include <atomic>
#include <cstdlib>

#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/proc.hpp"

namespace {
std::atomic<int> g_creations_left{-1};  // then one fails; negative: none does
std::atomic<int> g_creations{0};
}  // namespace

extern "C" int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
extern "C" int __wrap_pthread_create(pthread_t* id, const pthread_attr_t* attributes,
                                     void* (*main)(void*), void* argument) {
  if (g_creations_left.load() == 0) {
    g_creations_left = -1;
    return EAGAIN;
  }
  if (g_creations_left.load() > 0) g_creations_left.fetch_sub(1);
  g_creations.fetch_add(1);
  return __real_pthread_create(id, attributes, main, argument);
}

namespace gvt {
namespace {

Config config_of(u32 workers, bool caller_is_worker) {
  return {.workers = workers,
          .max_threads = 64,
          .slot_bytes = test::kTestSlotBytes,
          .caller_is_worker = caller_is_worker};
}

void expect_usable(Runtime& runtime, const Config& config) {
  ASSERT_TRUE(runtime.start(config).ok());
  std::atomic<u32> ran{0};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(runtime.spawn([&] { yield(), ran.fetch_add(1); }).ok());
  }
  EXPECT_EQ(runtime.run(), Error::ok);
  EXPECT_EQ(ran.load(), 20u);
  EXPECT_EQ(runtime.shutdown(), Error::ok);
}

TEST(Trap, HalfOfTheWorkersStarted) {
  for (const bool caller : {true, false}) {
    constexpr u32 kWorkers = 6;
    const Config config = config_of(kWorkers, caller);
    const int helpers = kWorkers - (caller ? 1 : 0);
    Runtime warm_up;
    expect_usable(warm_up, config);  // what the C library keeps of ended OS threads, it has by now
    const u64 threads = test::os_thread_count();
    const u64 maps = test::mapping_count();
    for (int n = 0; n < helpers; ++n) {
      Runtime runtime;
      g_creations = 0;
      g_creations_left = n;
      const Status status = runtime.start(config);
      EXPECT_EQ(status.error, Error::thread_start);
      EXPECT_EQ(status.os_errno, EAGAIN);
      EXPECT_EQ(g_creations.load(), n);
      EXPECT_FALSE(runtime.started());
      EXPECT_EQ(runtime.run(), Error::not_started);
      EXPECT_EQ(test::os_thread_count(), threads);
      EXPECT_LE(test::mapping_count(), maps + 2);
      expect_usable(runtime, config);  // the same object can start later
    }
    g_creations_left = -1;
  }
}

TEST(StartFailure, NoMoreOsThreadsThanWorkers) {
  for (u32 workers = 1; workers <= 4; ++workers) {
    for (const bool caller : {true, false}) {
      g_creations = 0;
      Runtime runtime;
      ASSERT_TRUE(runtime.start(config_of(workers, caller)).ok());
      EXPECT_EQ(g_creations.load(), static_cast<int>(workers - (caller ? 1 : 0)));
    }
  }
}

void limit_address_space(u64 bytes) {
  const rlimit limit{bytes, bytes};
  setrlimit(RLIMIT_AS, &limit);
}

// With room for the reservation and the stacks of two OS threads.
[[noreturn]] void start_where_the_third_os_thread_is_refused() {
  Runtime runtime;
  const Config config = config_of(8, true);
  rlimit stack{};
  getrlimit(RLIMIT_STACK, &stack);
  const u64 os_stack = stack.rlim_cur == RLIM_INFINITY ? 8u << 20 : stack.rlim_cur;
  limit_address_space(test::address_space_kb() * 1024 + 64 * test::kTestSlotBytes + (4u << 20) +
                      5 * os_stack / 2);
  const u64 threads = test::os_thread_count();
  bool good = true;
  for (int i = 0; i < 20; ++i) {
    const Status status = runtime.start(config);
    good = good && status.error == Error::thread_start && status.os_errno == EAGAIN;
    good = good && test::os_thread_count() == threads;
    if (!good) status.print();
  }
  Runtime alone;
  good = good && alone.start(config_of(1, true)).ok();
  std::_Exit(good ? 0 : 1);
}

TEST(StartFailureDeathTest, TheSystemRefusesTheThirdOsThread) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers need a large address space themselves";
  EXPECT_EXIT(start_where_the_third_os_thread_is_refused(), testing::ExitedWithCode(0), "");
}

[[noreturn]] void start_where_the_reservation_is_refused() {
  limit_address_space((test::address_space_kb() + 16 * 1024) * 1024);
  Runtime runtime;
  const Status status = runtime.start({.max_threads = 64, .slot_bytes = 1u << 20});
  const bool good = status.error == Error::no_memory && status.os_errno == ENOMEM &&
                    !runtime.started() &&
                    runtime.start({.max_threads = 4, .slot_bytes = 64 * 1024}).ok();
  std::_Exit(good ? 0 : 1);
}

TEST(StartFailureDeathTest, TheSystemRefusesTheReservation) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers need a large address space themselves";
  EXPECT_EXIT(start_where_the_reservation_is_refused(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gvt
