// SPDX-License-Identifier: MIT
//
// stress.hpp - the frame of stress tests: each runs with 1 to 4 workers, with both queues, and a
// printed seed. They end by their operations, not by time: a lost wake shows as a test that hangs
// until ctest's time-out.
#pragma once

#include <gtest/gtest.h>
#include <gvthread/gvthread.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/print.hpp"
#include "tests/support/random.hpp"
#include "tests/support/runtime_modes.hpp"

namespace gvt::test {

class StressTest : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override { seed = printed_seed(); }
  void start(u32 max_threads) {
    const Status status = runtime.start(config_for(GetParam(), max_threads));
    ASSERT_TRUE(status.ok()) << error_name(status.error);
  }
  // Waits for a slot: the workers run already, and what they run may have filled the runtime.
  template <class F>
  Handle spawn(F&& f) {
    Result<Handle> h = runtime.spawn(f);
    while (h.error() == Error::no_slot && workers_run()) {
      std::this_thread::yield();
      h = runtime.spawn(f);
    }
    EXPECT_TRUE(h.ok()) << error_name(h.error());
    return h.ok() ? h.value() : Handle{};
  }
  // Before run() is called.
  bool workers_run() const { return GetParam().workers > 1 || !GetParam().caller_is_worker; }
  // Until all threads have ended; then the books must balance.
  void run() {
    ASSERT_EQ(runtime.run(), Error::ok);
    const Stats s = runtime.stats();
    EXPECT_EQ(s.spawned, s.ended);
    EXPECT_EQ(s.started, s.ended);
  }
  // A generator of its own for each thread.
  Random random(u64 stream) const { return Random(seed * 0x9e3779b97f4a7c15 + stream); }

  u64 seed = 0;
  Runtime runtime;
};

// Keeps the CPU busy for about that many cycles.
inline void spin(u32 rounds) {
  for (u32 i = 0; i < rounds; ++i) asm volatile("" : : : "memory");
}

// A random short stay: nothing, a yield, a spin, or a sleep of up to 30 us.
inline void dawdle(Random& r) {
  switch (r.below(4)) {
    case 0: return;
    case 1: return yield();
    case 2: return spin(r.below(300));
    default: (void)sleep_for(std::chrono::nanoseconds(r.below(30'000)));
  }
}

// Spawns from a green thread, waiting for a slot if there is none. False: stopped.
template <class F>
bool spawn_when_possible(const F& f, Handle* handle = nullptr) {
  for (;;) {
    const Result<Handle> h = gvt::spawn(f);
    if (h.ok()) {
      if (handle != nullptr) *handle = h.value();
      return true;
    }
    if (h.error() == Error::stopped) return false;
    EXPECT_EQ(h.error(), Error::no_slot);
    yield();
  }
}

}  // namespace gvt::test

#define GVT_INSTANTIATE_STRESS(Suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(Stress, Suite,                                                        \
                           testing::Values(gvt::test::Mode{1, true, gvt::QueueKind::simple},     \
                                           gvt::test::Mode{1, true, gvt::QueueKind::lock_free},  \
                                           gvt::test::Mode{2, true, gvt::QueueKind::simple},     \
                                           gvt::test::Mode{2, true, gvt::QueueKind::lock_free},  \
                                           gvt::test::Mode{2, false, gvt::QueueKind::lock_free}, \
                                           gvt::test::Mode{3, true, gvt::QueueKind::lock_free},  \
                                           gvt::test::Mode{4, false, gvt::QueueKind::simple},    \
                                           gvt::test::Mode{4, true, gvt::QueueKind::lock_free}), \
                           gvt::test::mode_name)
