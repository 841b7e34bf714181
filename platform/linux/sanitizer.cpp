// SPDX-License-Identifier: MIT
//
// sanitizer.cpp - see sanitizer.hpp; empty in ordinary builds.
#include "platform/linux/sanitizer.hpp"

#if defined(GVT_ASAN)
namespace gvt::platform_linux {

Sanitizer::Fiber* Sanitizer::left_fiber(Fiber* set) noexcept {
  static thread_local Fiber* left = nullptr;
  if (set != nullptr) left = set;
  return left;
}

}  // namespace gvt::platform_linux
#endif
