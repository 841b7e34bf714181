// SPDX-License-Identifier: MIT
//
// types_test.cpp - core/types.hpp: error names, Result, Handle.
#include "core/types.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/support/death.hpp"

namespace gvt {
namespace {

constexpr u32 kErrors = static_cast<u32>(Error::already_started) + 1;

TEST(Types, EveryErrorHasItsOwnName) {
  std::set<std::string> names;
  for (u32 i = 0; i < kErrors; ++i) names.insert(error_name(static_cast<Error>(i)));
  EXPECT_EQ(names.size(), kErrors);
  EXPECT_EQ(names.count("unknown"), 0u);
  EXPECT_STREQ(error_name(Error::ok), "ok");
  EXPECT_STREQ(error_name(Error::already_started), "already_started");
}

TEST(Types, AnErrorOutOfRangeIsUnknown) {
  EXPECT_STREQ(error_name(static_cast<Error>(kErrors)), "unknown");
  EXPECT_STREQ(error_name(static_cast<Error>(255)), "unknown");
}

TEST(Types, ResultHoldsAValueOrAnError) {
  constexpr Result<int> good = 7;
  static_assert(good.ok() && good.value() == 7 && good.error() == Error::ok);
  EXPECT_TRUE(static_cast<bool>(good));
  const Result<int> bad = Error::stale;
  EXPECT_FALSE(bad.ok());
  EXPECT_FALSE(static_cast<bool>(bad));
  EXPECT_EQ(bad.error(), Error::stale);
}

TEST(TypesDeathTest, TheValueOfAnErrorPanics) {
  const Result<int> bad = Error::stale;
  EXPECT_PANIC((void)bad.value(), "assertion");
}

TEST(TypesDeathTest, ResultRefusesTheErrorOk) {
  EXPECT_PANIC(
      {
        const Result<int> r = Error::ok;
        (void)r.error();
      },
      "assertion");
}

TEST(Types, ADefaultHandleNamesNoThread) {
  static_assert(!Handle{});
  static_assert(Handle{} == Handle{0, 0});
  static_assert(Handle{3, 1} != Handle{3, 2} && Handle{3, 1} != Handle{2, 1});
  EXPECT_TRUE((Handle{0, 1}));
  EXPECT_FALSE((Handle{5, 0}));
}

}  // namespace
}  // namespace gvt
