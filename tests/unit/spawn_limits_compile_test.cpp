// SPDX-License-Identifier: MIT
//
// spawn_limits_compile_test.cpp - what spawn takes, and what does not compile: CASE 0 must compile,
// each other case must fail with the message that tests/CMakeLists.txt expects.
#include <gvthread/gvthread.hpp>

struct Fits {
  char bytes[48];
  void operator()() {}
};
struct TooBig {
  char bytes[49];
  void operator()() {}
};
struct alignas(32) TooAligned {
  void operator()() {}
};
struct NeedsArgument {
  void operator()(int) {}
};

void spawn_it(gvt::Runtime& runtime) {
#if CASE == 0
  (void)runtime.spawn(Fits{});
  (void)gvt::spawn(Fits{});
#elif CASE == 1
  (void)runtime.spawn(TooBig{});
#elif CASE == 2
  (void)gvt::spawn(TooBig{});
#elif CASE == 3
  (void)runtime.spawn(TooAligned{});
#elif CASE == 4
  (void)runtime.spawn(NeedsArgument{});
#endif
}
