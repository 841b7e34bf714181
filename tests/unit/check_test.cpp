// SPDX-License-Identifier: MIT
//
// check_test.cpp - core/check.hpp: a failed check names its rule, its condition and its place, and
// ends the program. The panics of each part are provoked in that part's test.
#include "core/check.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/build.hpp"
#include "tests/support/death.hpp"

namespace gvt {
namespace {

TEST(Check, ATrueConditionDoesNothingAndIsEvaluatedOnce) {
  int evaluated = 0;
  GVT_INVARIANT("INV-TEST", ++evaluated == 1);
  GVT_ASSERT(++evaluated == 2);
  EXPECT_EQ(evaluated, 2);
}

TEST(CheckDeathTest, AFailedInvariantSaysWhichWhatAndWhere) {
  const int two = 2;
  EXPECT_DEATH(GVT_INVARIANT("INV-TEST", two == 3),
               "gvthread: INV-TEST violated: two == 3 \\(.*check_test\\.cpp:[0-9]+\\)");
}

TEST(CheckDeathTest, AFailedAssertionIsCalledAssertion) {
  const bool good = false;
  EXPECT_DEATH(GVT_ASSERT(good), "gvthread: assertion violated: good \\(.*check_test\\.cpp");
}

TEST(CheckDeathTest, APanicEndsTheProgramByAbort) {
  EXPECT_EXIT(panic("INV-TEST", "x", "f.cpp", 1), testing::KilledBySignal(SIGABRT),
              "^gvthread: INV-TEST violated: x \\(f.cpp:1\\)");
}

TEST(CheckDeathTest, AVeryLongTextIsCut) {
  static char text[2000];
  for (char& c : text) c = 'a';
  text[sizeof text - 1] = 0;
  EXPECT_EXIT(panic("INV-TEST", text, "f.cpp", 1), testing::KilledBySignal(SIGABRT),
              "INV-TEST violated: aaaa");
}

}  // namespace
}  // namespace gvt
