// SPDX-License-Identifier: MIT
//
// sanitizer.hpp - tells AddressSanitizer and ThreadSanitizer which stack runs; empty in ordinary
// builds. Each switch is enclosed: leave(from, to) just before it, enter(self) first thing after
// it, on the new stack. Tests: the whole of tests/ in the asan and tsan builds. Source:
// sanitizer/common_interface_defs.h, tsan_interface.h.
#pragma once

#include "core/types.hpp"

#if defined(__has_feature)
#define GVT_HAS_FEATURE(x) __has_feature(x)
#else
#define GVT_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || GVT_HAS_FEATURE(thread_sanitizer)
#define GVT_TSAN 1
#elif defined(__SANITIZE_ADDRESS__) || GVT_HAS_FEATURE(address_sanitizer)
#define GVT_ASAN 1
#endif

#if defined(GVT_TSAN)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}
#elif defined(GVT_ASAN)
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, gvt::usize size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old,
                                     gvt::usize* size_old);
void __asan_unpoison_memory_region(const volatile void* address, gvt::usize size);
}
#endif

namespace gvt::platform_linux {

#if defined(GVT_TSAN)

struct Sanitizer {
  struct Fiber {
    void* tsan = nullptr;
  };
  static void fiber_adopt(Fiber& self) noexcept { self.tsan = __tsan_get_current_fiber(); }
  static void fiber_create(Fiber& f, void*, usize) noexcept { f.tsan = __tsan_create_fiber(0); }
  static void fiber_move(Fiber& from, Fiber& to) noexcept { to.tsan = from.tsan; }
  static void fiber_destroy(Fiber& f) noexcept { __tsan_destroy_fiber(f.tsan); }
  [[gnu::always_inline]] static inline void fiber_leave(Fiber&, Fiber& to, bool) noexcept {
    __tsan_switch_to_fiber(to.tsan, 0);
  }
  static void fiber_enter(Fiber&) noexcept {}
};

#elif defined(GVT_ASAN)

struct Sanitizer {
  struct Fiber {
    void* fake_stack = nullptr;
    const void* bottom = nullptr;
    usize size = 0;
  };
  static void fiber_adopt(Fiber&) noexcept {}  // its bounds are learnt when it is left
  static void fiber_create(Fiber& f, void* bottom, usize size) noexcept {
    // The frames of an ended thread leave poison behind, at most in what its last calls covered.
    constexpr usize kDirty = 64 * 1024;
    const usize dirty = size < kDirty ? size : kDirty;
    __asan_unpoison_memory_region(static_cast<std::byte*>(bottom) + size - dirty, dirty);
    f = {nullptr, bottom, size};
  }
  static void fiber_move(Fiber& from, Fiber& to) noexcept { to = from; }
  static void fiber_destroy(Fiber&) noexcept {}
  [[gnu::always_inline]] static inline void fiber_leave(Fiber& from, Fiber& to,
                                                        bool last) noexcept {
    left_fiber(&from);
    __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.size);
  }
  static void fiber_enter(Fiber& self) noexcept {
    Fiber* left = left_fiber(nullptr);
    const void* bottom = nullptr;
    usize size = 0;
    __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &size);
    if (left->bottom == nullptr) {  // an OS thread's own stack
      left->bottom = bottom;
      left->size = size;
    }
  }

 private:
  static Fiber* left_fiber(
      Fiber* set) noexcept;  // per OS thread; in sanitizer.cpp, so that no caller keeps its address
};

#else

struct Sanitizer {
  struct Fiber {};
  static void fiber_adopt(Fiber&) noexcept {}
  static void fiber_create(Fiber&, void*, usize) noexcept {}
  static void fiber_move(Fiber&, Fiber&) noexcept {}
  static void fiber_destroy(Fiber&) noexcept {}
  static void fiber_leave(Fiber&, Fiber&, bool) noexcept {}
  static void fiber_enter(Fiber&) noexcept {}
};

#endif

}  // namespace gvt::platform_linux
