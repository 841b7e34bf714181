// SPDX-License-Identifier: MIT
//
// coverage.hpp - what a fuzzing engine counts: the edges of core, and not those of the references
// and the rigs beside it. Counting both costs several times as much, and fills the corpus with what
// only the references tell apart. May include nothing.
//   GVT_MODEL_BEGIN, GVT_MODEL_END  what lies between is not instrumented; calls from there into
//                                   core go through really()
//   GVT_NOT_COUNTED                 nor is this function, which core calls: it stays a call
#pragma once

#if defined(__clang__)
#define GVT_MODEL_BEGIN \
  _Pragma("clang attribute push(__attribute__((no_sanitize(\"coverage\"))), apply_to = function)")
#define GVT_MODEL_END _Pragma("clang attribute pop")
#if __has_feature(coverage_sanitizer)
#define GVT_NOT_COUNTED [[gnu::noinline]]
#endif
#else
#define GVT_MODEL_BEGIN
#define GVT_MODEL_END
#endif
#if !defined(GVT_NOT_COUNTED)
#define GVT_NOT_COUNTED
#endif

namespace gvt::model {

// Calls f, which calls core: one instrumented function per place.
template <class F>
[[gnu::noinline]] decltype(auto) really(F&& f) {
  return f();
}

}  // namespace gvt::model
