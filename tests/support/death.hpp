// SPDX-License-Identifier: MIT
//
// death.hpp - death tests that start a new process, so that OS threads of this one do no harm.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/print.hpp"

namespace gvt::test {

class ThreadSafeDeathTests : public testing::Environment {
 public:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);  // hundreds of panics are meant
  }
};

inline testing::Environment* const kThreadSafeDeathTests =
    testing::AddGlobalTestEnvironment(new ThreadSafeDeathTests);

}  // namespace gvt::test

// The statement panics with the invariant of this name.
#define EXPECT_PANIC(statement, name) EXPECT_DEATH(statement, "gvthread: " name " violated")
