// SPDX-License-Identifier: MIT
//
// switch_test.cpp - arch/x86_64: what survives a switch, how a context starts, and what compilers
// must not carry across one.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "arch/x86_64/context.hpp"
#include "arch/x86_64/current.hpp"
#include "gvthread/gvthread.hpp"
#include "tests/support/build.hpp"
#include "tests/support/coroutine.hpp"

namespace gvt::test {
namespace {

u32 mxcsr() noexcept { return _mm_getcsr(); }
u16 x87_control() noexcept {
  u16 control;
  asm volatile("fnstcw %0" : "=m"(control));
  return control;
}
void set_x87_control(u16 control) noexcept { asm volatile("fldcw %0" : : "m"(control)); }

constexpr u32 kRoundUp = x86_64::kInitialMxcsr | 0x4000;
constexpr u32 kRoundDown = x86_64::kInitialMxcsr | 0x2000;
constexpr u16 kX87RoundUp = 0xb7f;
constexpr u16 kX87Single = 0x07f;

}  // namespace
}  // namespace gvt::test

// Fills the callee-saved registers with a pattern, calls f(argument), and returns a bit for each
// that has changed. Follows the ABI itself.
extern "C" gvt::u64 gvt_test_probe(void (*f)(void*), void* argument, gvt::u64 pattern);
// Overwrites the callee-saved registers, calls f(argument), and restores them.
extern "C" void gvt_test_trash(void (*f)(void*), void* argument);
// Break the ABI: return with another value in that register.
extern "C" void gvt_test_break_rbx(void*);
extern "C" void gvt_test_break_r12(void*);
extern "C" void gvt_test_break_r15(void*);

asm(R"(
    .macro gvt_test_check reg, offset
    leaq \offset(%rdx), %rcx
    cmpq %rcx, %\reg
    setne %cl
    movzbl %cl, %ecx
    leaq (%rcx, %rax, 2), %rax
    .endm
    .text
    .globl gvt_test_probe
    .type gvt_test_probe, @function
gvt_test_probe:
    .cfi_startproc
    .irp reg, rbx, rbp, r12, r13, r14, r15
    pushq %\reg
    .cfi_adjust_cfa_offset 8
    .endr
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    leaq 1(%rdx), %rbx
    leaq 2(%rdx), %rbp
    leaq 3(%rdx), %r12
    leaq 4(%rdx), %r13
    leaq 5(%rdx), %r14
    leaq 6(%rdx), %r15
    movq %rdi, %rax
    movq %rsi, %rdi
    callq *%rax
    popq %rdx
    .cfi_adjust_cfa_offset -8
    xorl %eax, %eax
    gvt_test_check rbx, 1
    gvt_test_check rbp, 2
    gvt_test_check r12, 3
    gvt_test_check r13, 4
    gvt_test_check r14, 5
    gvt_test_check r15, 6
    .irp reg, r15, r14, r13, r12, rbp, rbx
    popq %\reg
    .cfi_adjust_cfa_offset -8
    .endr
    retq
    .cfi_endproc
    .size gvt_test_probe, . - gvt_test_probe

    .irp reg, rbx, r12, r15
    .globl gvt_test_break_\reg
    .type gvt_test_break_\reg, @function
gvt_test_break_\reg:
    movq $7, %\reg
    retq
    .size gvt_test_break_\reg, . - gvt_test_break_\reg
    .endr

    .globl gvt_test_trash
    .type gvt_test_trash, @function
gvt_test_trash:
    .cfi_startproc
    .irp reg, rbx, rbp, r12, r13, r14, r15
    pushq %\reg
    .cfi_adjust_cfa_offset 8
    .endr
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq %rdi, %rax
    movq %rsi, %rdi
    .irp reg, rbx, rbp, r12, r13, r14, r15
    movq $-1, %\reg
    .endr
    callq *%rax
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    .irp reg, r15, r14, r13, r12, rbp, rbx
    popq %\reg
    .cfi_adjust_cfa_offset -8
    .endr
    retq
    .cfi_endproc
    .size gvt_test_trash, . - gvt_test_trash
)");

namespace gvt::test {
namespace {

// ---- registers ----

void suspend(void* coroutine) { static_cast<Coroutine*>(coroutine)->suspend(); }
void resume(void* coroutine) { static_cast<Coroutine*>(coroutine)->resume(); }

TEST(Switch, TheProbeSeesAChangedRegister) {
  const auto nothing = [](void*) {};
  EXPECT_EQ(gvt_test_probe(nothing, nullptr, 0x1122334455667700), 0u);
  EXPECT_EQ(gvt_test_probe(gvt_test_break_rbx, nullptr, 0x1122334455667700), 32u);
  EXPECT_EQ(gvt_test_probe(gvt_test_break_r15, nullptr, 0x1122334455667700), 1u);
  EXPECT_EQ(gvt_test_probe(gvt_test_break_r12, nullptr, 0x1122334455667700), 8u);
}

TEST(Switch, CalleeSavedRegistersSurvive) {
  Coroutine inside([](Coroutine& self) {
    for (;;) gvt_test_trash(suspend, &self);
  });
  for (u64 i = 0; i < 100; ++i)
    EXPECT_EQ(gvt_test_probe(resume, &inside, i * 0x0123456789abcdef), 0u);
}

TEST(Switch, CalleeSavedRegistersSurviveInTheOtherContextToo) {
  static u64 broken;
  broken = 0;
  Coroutine inside([](Coroutine& self) {
    for (u64 i = 0;; ++i) broken |= gvt_test_probe(suspend, &self, ~i * 0x0123456789abcdef);
  });
  for (int i = 0; i < 100; ++i) gvt_test_trash(resume, &inside);
  EXPECT_EQ(broken, 0u);
}

TEST(Switch, ManyLiveValuesSurvive) {
  static volatile u64 source = 1;
  Coroutine inside([](Coroutine& self) {
    for (;;) gvt_test_trash(suspend, &self);
  });
  u64 v[20];
  for (u64& x : v) x = source * 3;
  const double d = 1.5 * static_cast<double>(source);
  for (int i = 0; i < 10; ++i) inside.resume();
  for (const u64 x : v) EXPECT_EQ(x, 3u);
  EXPECT_EQ(d, 1.5);
}

// ---- floating-point control ----

TEST(Switch, EachContextHasItsOwnFloatingPointControl) {
  struct Seen {
    u32 mxcsr_at_start, mxcsr_later;
    u16 x87_at_start, x87_later;
    double third_up;
  } seen{};
  const u32 mxcsr_before = mxcsr();
  const u16 x87_before = x87_control();
  Coroutine inside(
      [](Coroutine& self) {
        auto* s = static_cast<Seen*>(self.user());
        s->mxcsr_at_start = mxcsr();
        s->x87_at_start = x87_control();
        _mm_setcsr(kRoundUp);
        set_x87_control(kX87RoundUp);
        self.suspend();
        s->mxcsr_later = mxcsr();
        s->x87_later = x87_control();
        volatile double one = 1;
        s->third_up = one / 3;
        self.suspend();
      },
      &seen);
  _mm_setcsr(kRoundDown);
  set_x87_control(kX87Single);
  inside.resume();
  const u32 mxcsr_between = mxcsr();
  const u16 x87_between = x87_control();
  volatile double one = 1;
  const double third_down = one / 3;
  inside.resume();
  const u32 mxcsr_after = mxcsr();
  const u16 x87_after = x87_control();
  _mm_setcsr(mxcsr_before);
  set_x87_control(x87_before);
  EXPECT_EQ(seen.mxcsr_at_start, x86_64::kInitialMxcsr);
  EXPECT_EQ(seen.x87_at_start, x86_64::kInitialX87Control);
  EXPECT_EQ(mxcsr_between & ~0x3fu, kRoundDown);
  EXPECT_EQ(x87_between, kX87Single);
  EXPECT_EQ(seen.mxcsr_later & ~0x3fu, kRoundUp);
  EXPECT_EQ(seen.x87_later, kX87RoundUp);
  EXPECT_EQ(mxcsr_after & ~0x3fu, kRoundDown);
  EXPECT_EQ(x87_after, kX87Single);
  EXPECT_LT(third_down, seen.third_up);
}

// An exception that one context left pending must not be raised in another that unmasks it.
TEST(Switch, APendingX87ExceptionStaysBehind) {
  Coroutine inside([](Coroutine& self) {
    set_x87_control(0x37b);  // division by zero unmasked
    for (;;) self.suspend();
  });
  inside.resume();
  asm volatile("fld1\n\tfldz\n\tfdivrp\n\tfstp %%st(0)" : : : "st");  // pending, masked here
  inside.resume();  // would raise SIGFPE at the next x87 instruction
  SUCCEED();
}

TEST(Switch, ANewThreadOnTheStackOfAnEndedOneHasTheDefaultControl) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 4, .slot_bytes = kTestSlotBytes}).ok());
  struct Seen {
    u32 mxcsr = 0;
    u16 x87 = 0;
    void* frame = nullptr;
  } first, second;
  (void)runtime.spawn([&first] {
    first.frame = __builtin_frame_address(0);
    _mm_setcsr(kRoundUp);
    set_x87_control(kX87RoundUp);
  });
  (void)runtime.spawn([&second] { second = {mxcsr(), x87_control(), __builtin_frame_address(0)}; });
  const u32 before = mxcsr();
  const u16 x87_before = x87_control();
  ASSERT_EQ(runtime.run(), Error::ok);
  EXPECT_EQ(second.mxcsr, x86_64::kInitialMxcsr);
  EXPECT_EQ(second.x87, x86_64::kInitialX87Control);
  EXPECT_LT(std::abs(static_cast<char*>(first.frame) - static_cast<char*>(second.frame)), 4096)
      << "meant to run on the same stack";
  EXPECT_EQ(mxcsr(), before);  // and the OS thread keeps its own
  EXPECT_EQ(x87_control(), x87_before);
}

// ---- how a context starts ----

[[gnu::noinline]] bool aligned_store_works() {
  alignas(16) float values[4];
  _mm_store_ps(values, _mm_set1_ps(1));  // movaps: faults if the compiler's idea of rsp is wrong
  asm volatile("" : : "r"(values) : "memory");
  return reinterpret_cast<usize>(values) % 16 == 0;
}

// At the first function the ABI's alignment holds, for every stack colour.
TEST(Trap, MisalignedNewStack) {
  for (usize colour = 0; colour < 32; ++colour) {
    struct Seen {
      usize frame;
      bool stored;
    } seen{};
    Coroutine inside(
        [](Coroutine& self) {
          auto* s = static_cast<Seen*>(self.user());
          s->frame = reinterpret_cast<usize>(__builtin_frame_address(0));
          s->stored = aligned_store_works();
        },
        &seen, 64 * 1024, colour * 64);
    EXPECT_EQ(reinterpret_cast<usize>(LinuxPort::stack_pointer(inside.saved())) % 16, 0u);
    inside.resume();
    EXPECT_TRUE(inside.done());
    EXPECT_EQ(seen.frame % 16, 0u);  // rbp after its push: 16-byte aligned
    EXPECT_TRUE(seen.stored);
  }
}

TEST(Switch, EveryStackOfARuntimeIsAligned) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 100, .slot_bytes = kTestSlotBytes}).ok());
  u32 good = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(runtime
                    .spawn([&good] {
                      yield();  // all are alive at once, each on a stack of its own
                      if (aligned_store_works() &&
                          reinterpret_cast<usize>(__builtin_frame_address(0)) % 16 == 0) {
                        ++good;
                      }
                    })
                    .ok());
  }
  ASSERT_EQ(runtime.run(), Error::ok);
  EXPECT_EQ(good, 100u);
}

TEST(Switch, AColouredStackBeginsLower) {
  Coroutine a([](Coroutine&) {}, nullptr, 64 * 1024, 0);
  Coroutine b([](Coroutine&) {}, nullptr, 64 * 1024, 640);
  EXPECT_EQ(static_cast<std::byte*>(LinuxPort::stack_pointer(a.saved())), a.top() - 16);
  EXPECT_EQ(static_cast<std::byte*>(LinuxPort::stack_pointer(b.saved())), b.top() - 640 - 16);
}

TEST(Switch, ANewContextsFrameChainEnds) {
  Coroutine inside([](Coroutine&) {});
  EXPECT_EQ(inside.saved().frame, nullptr);  // rbp = 0
  u64 word = 1;
  std::memcpy(&word, inside.top() - 8, 8);
  EXPECT_EQ(word, 0u);  // where a return address would be
}

TEST(Switch, ResumeHandsTheArgumentOver) {
  x86_64::Context a;
  x86_64::Context b;
  static x86_64::Context* to;
  static void* got;
  static x86_64::Context dead;
  alignas(16) static std::byte stack[64 * 1024];
  to = &a;
  got = nullptr;
  if (kSanitized) GTEST_SKIP() << "a bare switch, of which the sanitizer knows nothing";
  x86_64::Arch::make_context(b, stack + sizeof stack, [](void* argument) {
    got = argument;
    x86_64::Arch::switch_context(dead, *to, &got);
  });
  int token = 0;
  EXPECT_EQ(x86_64::Arch::switch_context(a, b, &token), static_cast<void*>(&got));
  EXPECT_EQ(got, &token);
}

// ---- what compilers must not carry across a switch ----

int g_touched_by_the_other;  // its address is never taken

GVT_SWITCHES void touch_loop(Coroutine& self) {
  for (;;) {
    ++g_touched_by_the_other;
    self.suspend();
  }
}

// g++ -fipa-reference: "resume() does not change this variable, nobody took its address".
TEST(Trap, GlobalKeptInARegister) {
  g_touched_by_the_other = 0;
  Coroutine inside(touch_loop);
  int wrong = 0;
  for (int i = 0; i < 10; ++i) {
    const int before = g_touched_by_the_other;
    inside.resume();
    if (g_touched_by_the_other != before + 1) ++wrong;
  }
  EXPECT_EQ(wrong, 0);
}

int g_yielded;

TEST(Trap, GlobalKeptInARegisterAcrossYield) {
  Runtime runtime;
  ASSERT_TRUE(runtime.start({.max_threads = 4, .slot_bytes = kTestSlotBytes}).ok());
  g_yielded = 0;
  int wrong = 0;
  (void)runtime.spawn([&wrong] {
    for (int i = 0; i < 100; ++i) {
      const int before = g_yielded;
      yield();
      if (g_yielded != before + 1) ++wrong;
    }
  });
  (void)runtime.spawn([] {
    for (int i = 0; i < 100; ++i) {
      ++g_yielded;
      yield();
    }
  });
  ASSERT_EQ(runtime.run(), Error::ok);
  EXPECT_EQ(wrong, 0);
}

// One context, resumed by several OS threads: current() is that OS thread's, in one function, where
// a compiler would keep the address of a thread_local.
TEST(Trap, ThreadLocalHoisted) {
  static std::vector<void*>* seen;
  std::vector<void*> record;
  seen = &record;
  Coroutine inside([](Coroutine& self) {
    for (int i = 0; i < 3; ++i) {
      seen->push_back(LinuxPort::current());
      self.suspend();
      seen->push_back(LinuxPort::current());
      self.suspend();
    }
  });
  int marks[6];
  for (int& mark : marks) {
    std::thread os_thread([&] {
      EXPECT_EQ(LinuxPort::current(), nullptr);  // a foreign one has none
      LinuxPort::set_current(&mark);
      inside.resume();
      EXPECT_EQ(LinuxPort::current(), &mark);
    });
    os_thread.join();
  }
  ASSERT_EQ(record.size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(record[static_cast<usize>(i)], &marks[i]);
}

// current() and set_current() on either side of a switch, by the coroutine itself.
TEST(Switch, SetCurrentOnTheOsThreadThatRunsIt) {
  static int inner;
  Coroutine inside([](Coroutine& self) {
    for (;;) {
      LinuxPort::set_current(&inner);
      self.suspend();
    }
  });
  inside.resume();
  EXPECT_EQ(LinuxPort::current(), &inner);
  LinuxPort::set_current(nullptr);
  std::thread([&] {
    inside.resume();
    EXPECT_EQ(LinuxPort::current(), &inner);
    LinuxPort::set_current(nullptr);
  }).join();
  EXPECT_EQ(LinuxPort::current(), nullptr);
}

}  // namespace
}  // namespace gvt::test
