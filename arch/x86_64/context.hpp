// SPDX-License-Identifier: MIT
//
// context.hpp - contexts and the voluntary switch on x86-64. May include core/types.hpp only; the
// one folder with assembly. Saved: rsp, rbp, the resume address, MXCSR and the x87 control word.
// All other registers are named as clobbers, so that the compiler spills what is live, and nothing
// else. Not saved: the signal mask; the contents of SSE, AVX and x87 registers, which the ABI
// leaves to the caller. Invariants: INV-CTX-3 (what the ABI calls callee-saved survives). Tests:
// tests/unit/switch_test.cpp. Source: System V ABI, AMD64 supplement, 3.2.1 and 3.2.3.
#pragma once

#include "core/types.hpp"

namespace gvt::x86_64 {

struct Context {
  void* sp;
  void* frame;  // rbp
  void* resume;
  u32 mxcsr;
  u16 x87_control;
};
static_assert(offsetof(Context, frame) == 8 && offsetof(Context, resume) == 16 &&
                  offsetof(Context, mxcsr) == 24 && offsetof(Context, x87_control) == 28 &&
                  sizeof(Context) == 32,
              "the assembly below uses these offsets");

inline constexpr u32 kInitialMxcsr =
    0x1f80;  // System V ABI, table 3.4's start values: all exceptions masked,
inline constexpr u16 kInitialX87Control = 0x37f;  // round to nearest, extended precision

}  // namespace gvt::x86_64

// The start of every context: rdx holds the argument of the switch, the top of the stack the
// function. Defined in context.cpp; there unwinding ends.
extern "C" void gvt_x86_64_start() noexcept;

namespace gvt::x86_64 {

struct Arch {
  using Context = x86_64::Context;

  // stack_end: 16-byte aligned. The function gets the argument of the switch that starts the
  // context, and must not return.
  static void make_context(Context& context, void* stack_end, void (*entry)(void*)) noexcept {
    auto* top = static_cast<u64*>(stack_end);
    top[-1] = 0;  // where a return address would be: a backtrace ends here
    top[-2] = reinterpret_cast<u64>(entry);
    context = {top - 2, nullptr, reinterpret_cast<void*>(&gvt_x86_64_start), kInitialMxcsr,
               kInitialX87Control};
  }

  // Fetches the two lines that the context will touch first. It may run elsewhere by now and the
  // pointer be an old one: a fetch has no effect but on time, and the load is not the compiler's,
  // so it is no race of the program's.
  [[gnu::always_inline]] static inline void prefetch_context(const Context& context) noexcept {
    void* sp;
    asm volatile(
        "movq (%1), %0\n\t"
        "prefetcht0 (%0)\n\t"
        "prefetcht0 64(%0)"
        : "=&r"(sp)
        : "r"(&context));
  }

  static void* stack_pointer(const Context& context) noexcept { return context.sp; }

  // Cost: 4.8 ns, of which 3.4 ns are stmxcsr's, which go unnoticed between other work. MXCSR is
  // loaded unconditionally, which is cheaper than to read it back and compare; fldcw is slow, so
  // only on a difference, and after fnclex: unmasking an exception that another context left
  // pending would raise SIGFPE here. Resumed by a jump to one of few addresses, which predicts
  // well; rsp itself does not move, so the red zone is safe and unwind tables stay right in
  // between.
  [[gnu::always_inline]] static inline void* switch_context(Context& from, Context& to,
                                                            void* argument) noexcept {
    Context* save = &from;
    Context* load = &to;
    asm volatile(
        "stmxcsr 24(%%rdi)\n\t"
        "fnstcw 28(%%rdi)\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "movq %%rsp, (%%rdi)\n\t"
        "movq %%rbp, 8(%%rdi)\n\t"
        "movzwl 28(%%rdi), %%r9d\n\t"
        "movq %%rax, 16(%%rdi)\n\t"
        "movq (%%rsi), %%rsp\n\t"
        "movq 8(%%rsi), %%rbp\n\t"
        "ldmxcsr 24(%%rsi)\n\t"
        "cmpw %%r9w, 28(%%rsi)\n\t"
        "jne 2f\n"
        "3:\n\t"
        "jmpq *16(%%rsi)\n"
        "2:\n\t"
        "fnclex\n\t"
        "fldcw 28(%%rsi)\n\t"
        "jmp 3b\n"
        "1:\n\t"
        : "+d"(argument), "+D"(save), "+S"(load)
        :
        : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc",
          "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)",
          "st(5)", "st(6)", "st(7)"
#ifdef __AVX512F__
          ,
          "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
          "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",
          "k7"
#endif
    );
    return argument;
  }

  // The floating-point control of a new context, for a thread that starts on the stack of one that
  // has ended.
  static void reset_fpu() noexcept {
    const u32 mxcsr = kInitialMxcsr;
    u16 control;
    asm volatile("ldmxcsr %1\n\tfnstcw %0" : "=m"(control) : "m"(mxcsr));
    if (control != kInitialX87Control) [[unlikely]] {
      control = kInitialX87Control;
      asm volatile("fnclex\n\tfldcw %0" : : "m"(control));
    }
  }

  static void pause() noexcept { asm volatile("pause"); }
};

}  // namespace gvt::x86_64
