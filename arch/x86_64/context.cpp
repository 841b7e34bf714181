// SPDX-License-Identifier: MIT
//
// context.cpp - where a context begins. At entry: rsp = stack end - 16 and 16-byte aligned, holding
// the first function; rbp = 0; rdx = the argument of the switch. The call pushes 8 bytes, so the
// function starts as the ABI wants it. Unwinding ends here: rip is undefined and rbp is 0 (System V
// ABI 3.4.1, "deepest stack frame").
#include "arch/x86_64/context.hpp"

asm(R"(
    .text
    .globl gvt_x86_64_start
    .hidden gvt_x86_64_start
    .type gvt_x86_64_start, @function
    .p2align 4
gvt_x86_64_start:
    .cfi_startproc
    .cfi_undefined rip
    movq %rdx, %rdi
    callq *(%rsp)
    ud2
    .cfi_endproc
    .size gvt_x86_64_start, . - gvt_x86_64_start
)");
