// SPDX-License-Identifier: MIT
//
// random.hpp - the randomness of tests: one seed per test, printed, and set by GVT_SEED to repeat
// a run. Source: splitmix64, Steele, Lea and Flood, OOPSLA 2014.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "core/types.hpp"

namespace gvt::test {

class Random {
 public:
  constexpr explicit Random(u64 seed) noexcept : state_(seed) {}
  constexpr u64 next() noexcept {
    state_ += 0x9e3779b97f4a7c15;
    u64 z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  constexpr u32 below(u32 bound) noexcept { return static_cast<u32>((next() >> 32) * bound >> 32); }
  constexpr bool one_in(u32 n) noexcept { return below(n) == 0; }

 private:
  u64 state_;
};

// GVT_SEED, or the clock's; printed either way.
inline u64 printed_seed() noexcept {
  u64 seed = 0;
  if (const char* text = std::getenv("GVT_SEED")) {
    seed = std::strtoull(text, nullptr, 0);
  } else {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    seed = Random(static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec))
               .next() >>
           32;
  }
  std::printf("  seed: GVT_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace gvt::test
