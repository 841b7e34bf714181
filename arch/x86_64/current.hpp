// SPDX-License-Identifier: MIT
//
// current.hpp - the worker of the calling OS thread, right after a green thread has moved to
// another one too. Compilers keep the address of a thread_local across a call (g++ 12 and clang 19
// do at -O2), and after a switch that is the address of another OS thread's variable. The volatile
// asm computes the address anew at each use. Tests: tests/unit/switch_test.cpp. Source: Drepper,
// "ELF Handling for Thread-Local Storage", 4.4.6 (initial exec).
#pragma once

extern "C" __attribute__((tls_model("initial-exec"))) thread_local void* gvt_x86_64_current;

namespace gvt::x86_64 {

struct CurrentInTls {
  [[gnu::always_inline]] static inline void* current() noexcept {
    void* worker;
    asm volatile(
        "movq gvt_x86_64_current@gottpoff(%%rip), %0\n\t"
        "movq %%fs:(%0), %0"
        : "=r"(worker));
    return worker;
  }

  [[gnu::always_inline]] static inline void set_current(void* worker) noexcept {
    void* offset;
    asm volatile(
        "movq gvt_x86_64_current@gottpoff(%%rip), %0\n\t"
        "movq %1, %%fs:(%0)"
        : "=&r"(offset)
        : "r"(worker)
        : "memory");
  }
};

}  // namespace gvt::x86_64
