// SPDX-License-Identifier: MIT
//
// check.hpp - assertions that stay on in release, and clang's thread-safety annotations.
// A failed check is a bug of the runtime (or memory corruption): it panics with its name and never
// returns. The names (INV-...) are listed in docs/invariants.md. Tests: tests/unit/check_test.cpp.
#pragma once

namespace gvt {

// Port function, supplied once per program by the platform (or the test, or the embedder).
// Reports the broken rule and ends the program; it must not return and must not allocate.
[[noreturn]] void panic(const char* invariant, const char* condition, const char* file,
                        int line) noexcept;

}  // namespace gvt

#define GVT_INVARIANT(name, condition) \
  (static_cast<bool>(condition) ? void(0) : ::gvt::panic(name, #condition, __FILE__, __LINE__))
#define GVT_ASSERT(condition) GVT_INVARIANT("assertion", condition)

// For every function that contains a context switch. g++ 12 (-fipa-reference) looks into a visible
// body and ignores that the switch may change any memory: callers then keep globals in registers
// across it. tests/unit/switch_test.cpp has the case.
#if defined(__clang__)
#define GVT_SWITCHES __attribute__((noinline))
#else
#define GVT_SWITCHES __attribute__((noipa))
#endif

#if defined(__clang__)
#define GVT_TS(x) __attribute__((x))
#else
#define GVT_TS(x)
#endif
#define GVT_CAPABILITY(x) GVT_TS(capability(x))
#define GVT_SCOPED_CAPABILITY GVT_TS(scoped_lockable)
#define GVT_GUARDED_BY(x) GVT_TS(guarded_by(x))
#define GVT_REQUIRES(...) GVT_TS(requires_capability(__VA_ARGS__))
#define GVT_ACQUIRE(...) GVT_TS(acquire_capability(__VA_ARGS__))
#define GVT_RELEASE(...) GVT_TS(release_capability(__VA_ARGS__))
#define GVT_NO_THREAD_SAFETY_ANALYSIS GVT_TS(no_thread_safety_analysis)
