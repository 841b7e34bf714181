// SPDX-License-Identifier: MIT
//
// runtime_modes.hpp - the ways to run a runtime that tests of the hosted API go through.
#pragma once

#include <gtest/gtest.h>
#include <gvthread/gvthread.hpp>

#include <string>

#include "tests/support/build.hpp"
#include "tests/support/print.hpp"

namespace gvt::test {

struct Mode {
  u32 workers;
  bool caller_is_worker;
  QueueKind queue;
};

inline std::string mode_name(const testing::TestParamInfo<Mode>& info) {
  return std::string(queue_kind_name(info.param.queue)) + "_" + std::to_string(info.param.workers) +
         (info.param.caller_is_worker ? "_with_caller" : "_own");
}

inline Config config_for(const Mode& mode, u32 max_threads = 64) {
  return {.workers = mode.workers,
          .max_threads = max_threads,
          .slot_bytes = kTestSlotBytes,
          .queue = mode.queue,
          .caller_is_worker = mode.caller_is_worker};
}

// A started runtime in the mode of the parameter.
class RuntimeModes : public testing::TestWithParam<Mode> {
 protected:
  void start(u32 max_threads = 64) {
    const Status status = runtime.start(config_for(GetParam(), max_threads));
    ASSERT_TRUE(status.ok()) << error_name(status.error);
  }
  template <class F>
  Handle spawn(F&& f, const char* name = nullptr) {
    const Result<Handle> h = runtime.spawn(std::forward<F>(f), name);
    EXPECT_TRUE(h.ok()) << error_name(h.error());
    return h.ok() ? h.value() : Handle{};
  }
  void run() {
    ASSERT_EQ(runtime.run(), Error::ok);
    const Stats s = runtime.stats();
    EXPECT_EQ(s.spawned, s.ended);
    EXPECT_EQ(s.started, s.ended);
  }
  Runtime runtime;
};

}  // namespace gvt::test

#define GVT_INSTANTIATE_MODES(Suite)                                                              \
  INSTANTIATE_TEST_SUITE_P(Modes, Suite,                                                          \
                           testing::Values(gvt::test::Mode{1, true, gvt::QueueKind::lock_free},   \
                                           gvt::test::Mode{1, false, gvt::QueueKind::simple},     \
                                           gvt::test::Mode{2, true, gvt::QueueKind::simple},      \
                                           gvt::test::Mode{2, true, gvt::QueueKind::lock_free},   \
                                           gvt::test::Mode{3, false, gvt::QueueKind::lock_free}), \
                           gvt::test::mode_name)
