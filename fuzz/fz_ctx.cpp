// SPDX-License-Identifier: MIT
//
// fz_ctx.cpp - the context switch between up to four contexts, in any order, with any contents of
// the callee-saved registers and any floating-point control: each context finds its own again
// (INV-CTX-3). Three bytes per switch: the next context and how deep its caller is, MXCSR, x87.
#include <cstdio>

#include "model/bytes.hpp"
#include "model/rig.hpp"
#include "model/sim_port.hpp"

// Calls function(argument) with the six callee-saved registers as given, and stores what they hold
// afterwards. System V ABI, AMD64 supplement, 3.2.1.
extern "C" void gvt_fz_call_with(gvt::u64* registers, void (*function)(void*), void* argument);
asm(R"(
    .text
    .globl gvt_fz_call_with
    .type gvt_fz_call_with, @function
gvt_fz_call_with:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    movq 0(%rdi), %rbx
    movq 8(%rdi), %rbp
    movq 16(%rdi), %r12
    movq 24(%rdi), %r13
    movq 32(%rdi), %r14
    movq 40(%rdi), %r15
    movq %rdx, %rdi
    callq *%rsi
    popq %rdi
    .cfi_adjust_cfa_offset -8
    movq %rbx, 0(%rdi)
    movq %rbp, 8(%rdi)
    movq %r12, 16(%rdi)
    movq %r13, 24(%rdi)
    movq %r14, 32(%rdi)
    movq %r15, 40(%rdi)
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size gvt_fz_call_with, . - gvt_fz_call_with
)");

namespace {

using namespace gvt;
using namespace gvt::sim;

constexpr u32 kContexts = 4;
constexpr u32 kMain = kContexts;

struct {
  Arch::Context context[kContexts + 1];
  Sanitizer::Fiber fiber[kContexts + 1];
  u32 running = kMain;
  u32 contexts = 2;
  model::Bytes input;
  u64 pattern = 0;
} state;

void broken(const char* what) {
  std::fprintf(stderr, "INV-CTX-3: context %u: %s\n", state.running, what);
  __builtin_trap();
}

struct FloatingPointControl {
  u32 mxcsr;
  u16 x87;

  static FloatingPointControl now() {
    FloatingPointControl c;
    asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(c.mxcsr), "=m"(c.x87));
    return c;
  }
  void set() const { asm volatile("fnclex\n\tldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87)); }
  bool operator==(const FloatingPointControl&) const = default;
};

// All exceptions stay masked; rounding, flush to zero and precision vary. The x87 status may hold
// exceptions that another context has raised.
FloatingPointControl some_control() {
  const u32 a = state.input.byte();
  const u32 b = state.input.byte();
  static constexpr u16 kPrecisions[4] = {0x000, 0x200, 0x300, 0x300};  // 1 is reserved
  return {x86_64::kInitialMxcsr | (a & 3) << 13 | (a & 4) << 13 | (a & 8) << 3 | (a >> 4 & 7),
          static_cast<u16>(0x7f | kPrecisions[b & 3] | (b & 12) << 8)};
}

GVT_SWITCHES void go_to(void* next) {
  const u32 self = state.running;
  const u32 to = static_cast<u32>(reinterpret_cast<u64>(next));
  if (to == self) return;
  state.running = to;
  Sanitizer::fiber_leave(state.fiber[self], state.fiber[to], false);
  void* told = Arch::switch_context(state.context[self], state.context[to],
                                    reinterpret_cast<void*>(u64{self} + 1));
  Sanitizer::fiber_enter(state.fiber[self]);
  state.running = self;
  if (told == nullptr) broken("the switch has lost its argument");
}

u64 next_pattern() {
  state.pattern = state.pattern * 6364136223846793005u + 1442695040888963407u;
  return state.pattern ^ state.pattern >> 29;
}

void switch_once(u32 depth) {
  volatile u64 frame[8] = {};
  frame[depth % 8] = depth;
  if (depth > 0) {
    switch_once(depth - 1);
  } else {
    u64 registers[6];
    u64 expected[6];
    for (u32 i = 0; i < 6; ++i) expected[i] = registers[i] = next_pattern();
    const u8 where = state.input.byte();
    const u32 next = where % state.contexts;
    const FloatingPointControl control = some_control();
    control.set();
    gvt_fz_call_with(registers, go_to, reinterpret_cast<void*>(u64{next}));
    if (FloatingPointControl::now() != control) broken("floating-point control");
    if (canary) expected[0] ^= 1;  // then every switch is found to be wrong
    for (u32 i = 0; i < 6; ++i) {
      if (registers[i] != expected[i]) broken("a callee-saved register");
    }
  }
  if (frame[depth % 8] != depth) broken("its stack");
}

void body(void* argument) {
  const u32 self = state.running;
  Sanitizer::fiber_enter(state.fiber[self]);
  if (argument == nullptr) broken("a first argument");
  const FloatingPointControl fresh = FloatingPointControl::now();
  if (fresh.mxcsr != x86_64::kInitialMxcsr || fresh.x87 != x86_64::kInitialX87Control)
    broken("a new context's floating-point control");
  if (reinterpret_cast<u64>(__builtin_frame_address(0)) % 16 != 0)
    broken("a new stack's alignment");
  while (!state.input.empty()) switch_once(state.input.byte() % 4);
  go_to(reinterpret_cast<void*>(u64{kMain}));
  broken("a context runs after its end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  state.input = model::Bytes(data, size < 4096 ? size : 4096);
  state.contexts = 2 + state.input.byte() % (kContexts - 1);
  state.pattern = state.input.number32();
  state.running = kMain;
  const FloatingPointControl mine = FloatingPointControl::now();
  state.fiber[kMain] = {};
  Sanitizer::fiber_adopt(state.fiber[kMain]);
  for (u32 i = 0; i < state.contexts; ++i) {
    Arch::make_context(state.context[i], sim_stacks[i] + kStackBytes - (i * 64), &body);
    Sanitizer::fiber_create(state.fiber[i], sim_stacks[i], kStackBytes);
  }
  go_to(nullptr);
  if (FloatingPointControl::now() != mine) broken("the caller's floating-point control");
#if defined(GVT_TSAN)
  for (u32 i = 0; i < state.contexts; ++i) Sanitizer::fiber_destroy(state.fiber[i]);
#endif
  return 0;
}
