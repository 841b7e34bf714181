// SPDX-License-Identifier: MIT
//
// build.hpp - what kind of build a test runs in, and how much it may do there.
#pragma once

#include "core/types.hpp"
#include "platform/linux/sanitizer.hpp"

namespace gvt::test {

#if defined(GVT_TSAN)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif
#if defined(GVT_ASAN)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif
inline constexpr bool kSanitized = kTsan || kAsan;

// An operation count for an ordinary build, smaller under a sanitizer.
constexpr u32 scaled(u32 count) noexcept {
  const u32 divisor = kTsan ? 10 : kAsan ? 3 : 1;
  return count / divisor > 0 ? count / divisor : 1;
}

// Threads alive at once. ThreadSanitizer has room for about 8 000 fibers.
constexpr u32 scaled_threads(u32 count) noexcept {
  const u32 most = kTsan ? 500 : kAsan ? 4000 : ~u32{0};
  return count < most ? count : most;
}

// Sanitizers make frames larger; GoogleTest's macros need some stack too.
inline constexpr u64 kTestSlotBytes = 256 * 1024;

}  // namespace gvt::test
