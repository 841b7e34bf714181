// SPDX-License-Identifier: MIT
//
// main.cpp - the kernel without libc: linked -nostdlib -static, own _start, raw system calls, one
// worker on the only OS thread. Threads spawn, yield, sleep, park, are unparked, and are joined,
// with each kind of ready queue. Exit code 0 if every count is right, 1 if not, 70 for a panic.
// Built and run by ci/freestanding. It is also the shortest example of a port, see core/port.hpp.
#include <new>

#include "arch/x86_64/context.hpp"
#include "core/audit.hpp"
#include "core/scheduler.hpp"
#include "core/selected_ready_queue.hpp"

using gvt::u32;
using gvt::u64;
using gvt::usize;

// ---- Linux without libc ----

namespace {

// Numbers: asm/unistd_64.h. Registers: System V ABI, AMD64 supplement, A.2.1.
constexpr long kSysWrite = 1;
constexpr long kSysSchedYield = 24;
constexpr long kSysFutex = 202;
constexpr long kSysClockGettime = 228;
constexpr long kSysExitGroup = 231;

long system_call(long number, long a, long b = 0, long c = 0, long d = 0, long e = 0,
                 long f = 0) noexcept {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "+a"(number)
               : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return number;
}

long address(const void* p) noexcept { return reinterpret_cast<long>(p); }

[[noreturn]] void leave(int code) noexcept {
  for (;;) system_call(kSysExitGroup, code);
}

void print(const char* text) noexcept {
  long length = 0;
  while (text[length] != 0) ++length;
  system_call(kSysWrite, 2, address(text), length);
}

void print(u64 number) noexcept {
  char digits[21];
  usize at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  print(digits + at);
}

}  // namespace

// What compilers call on their own. String instructions, so that the loops are not turned into
// calls of themselves.
extern "C" {
void* memcpy(void* to, const void* from, usize size) noexcept {
  void* at = to;
  asm volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
  return to;
}
void* memset(void* to, int value, usize size) noexcept {
  void* at = to;
  asm volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
  return to;
}
}

namespace gvt {
[[noreturn]] void panic(const char* invariant, const char* condition, const char* file,
                        int line) noexcept {
  const char* const words[] = {invariant, " violated: ", condition, " (", file, ":"};
  for (const char* word : words) print(word);
  print(static_cast<u64>(line));
  print(")\n");
  leave(70);
}
}  // namespace gvt

// ---- the port ----

namespace {

struct System {
  template <class T>
  using Atomic = std::atomic<T>;

  struct Time {
    long seconds;
    long nanoseconds;
  };
  static constexpr u64 kSecond = 1'000'000'000;

  static void relinquish() noexcept { system_call(kSysSchedYield, 0); }
  static u64 now_ns() noexcept {
    Time now{};
    constexpr long kMonotonic = 1;
    system_call(kSysClockGettime, kMonotonic, address(&now));
    return static_cast<u64>(now.seconds) * kSecond + static_cast<u64>(now.nanoseconds);
  }
  static void wait(Atomic<u32>& word, u32 expected, u64 deadline_ns) noexcept {
    constexpr long kWaitBitsetPrivate = 9 | 128;  // its deadline is absolute
    const Time deadline{static_cast<long>(deadline_ns / kSecond),
                        static_cast<long>(deadline_ns % kSecond)};
    system_call(kSysFutex, address(&word), kWaitBitsetPrivate, static_cast<long>(expected),
                deadline_ns == gvt::kNever ? 0 : address(&deadline), 0, 0xffffffff);
  }
  static void wake(Atomic<u32>& word) noexcept {
    constexpr long kWakePrivate = 1 | 128;
    system_call(kSysFutex, address(&word), kWakePrivate, 1);
  }

  // There is one OS thread, so a plain variable does.
  static inline void* worker = nullptr;
  static void* current() noexcept { return worker; }
  static void set_current(void* w) noexcept { worker = w; }

  struct Fiber {};
  static void fiber_adopt(Fiber&) noexcept {}
  static void fiber_create(Fiber&, void*, usize) noexcept {}
  static void fiber_move(Fiber&, Fiber&) noexcept {}
  static void fiber_destroy(Fiber&) noexcept {}
  static void fiber_leave(Fiber&, Fiber&, bool) noexcept {}
  static void fiber_enter(Fiber&) noexcept {}
};

struct BarePort : gvt::x86_64::Arch, System {};

constexpr u32 kThreads = 1000;
constexpr u32 kYields = 10;
constexpr u32 kSleeps = 3;
constexpr u64 kMillisecond = 1'000'000;

constexpr gvt::Config config_with(gvt::QueueKind queue) {
  gvt::Config config;
  config.max_threads = kThreads + 1;  // and the one that joins them
  config.slot_bytes = gvt::kMinSlotBytes;
  config.queue = queue;
  config.guards = gvt::GuardMode::none;
  return config;
}
constexpr gvt::Config kConfig = config_with(gvt::QueueKind::simple);
static_assert(gvt::check_config(kConfig).ok());

// Stacks in a static array, without guards.
struct BareMemory {
  alignas(gvt::kPageBytes) static inline std::byte stacks[kConfig.max_threads][kConfig.slot_bytes];

  std::byte* top(u32 slot) const noexcept { return stacks[slot] + kConfig.slot_bytes; }
  std::byte* bottom(u32 slot) const noexcept { return stacks[slot]; }
  bool holds(u32 slot, const void* address) const noexcept {
    return address >= bottom(slot) && address < top(slot);
  }
  u32 admit(u32, u32 count) noexcept { return count; }
  u32 prepare(u32, u32 count) noexcept { return count; }
  void discard(const u32*, u32) noexcept {}
};

struct Parts {
  using Port = BarePort;
  using Queue = gvt::core::SelectedReadyQueue<BarePort, gvt::core::Thread<BarePort>>;
  using Memory = BareMemory;
};
using Kernel = gvt::core::Scheduler<Parts>;
using Audit = gvt::core::Auditor<Parts>;

// The size does not depend on the queue kind, so it is known here for both.
constexpr u64 kKernelBytes = Kernel::required_bytes(kConfig);
static_assert(kKernelBytes == Kernel::required_bytes(config_with(gvt::QueueKind::lock_free)));
alignas(64) std::byte kernel_memory[kKernelBytes];
alignas(Kernel) std::byte kernel_object[sizeof(Kernel)];
BareMemory stack_memory;

// ---- the job ----

struct Counts {
  u64 ended = 0, yields = 0, sleeps = 0, parks = 0, unparks = 0, joins = 0, errors = 0;
};
Counts counts;
Kernel* kernel;
gvt::Handle handles[kThreads];
gvt::u8 audit_scratch[kThreads + 1];

void expect_ok(gvt::Error error, u64& count) noexcept {
  ++(error == gvt::Error::ok ? count : counts.errors);
}

// Number `index`. Even ones park until their odd neighbour has unparked them.
void storm(u32 index) noexcept {
  for (u32 i = 0; i < kYields; ++i) {
    Kernel::yield();
    ++counts.yields;
  }
  for (u32 i = 0; i < kSleeps; ++i) {
    const u64 deadline_ns = BarePort::now_ns() + (1 + (index + i) % 4) * kMillisecond;
    expect_ok(Kernel::sleep_until(deadline_ns), counts.sleeps);
    if (BarePort::now_ns() < deadline_ns) ++counts.errors;  // INV-TMR-1
  }
  if (index % 2 == 0) {
    expect_ok(Kernel::park(gvt::kNever), counts.parks);
  } else {
    expect_ok(kernel->unpark(handles[index - 1]), counts.unparks);
  }
  ++counts.ended;
}

template <class F>
gvt::Handle spawn(F f) noexcept {
  static_assert(sizeof(F) <= gvt::core::kInlineCallableBytes);
  const auto thread = kernel->reserve();
  if (!thread.ok()) {
    ++counts.errors;
    return {};
  }
  new (kernel->callable(*thread.value())) F(f);
  return kernel->publish(
      *thread.value(), [](void* callable) noexcept { (*static_cast<F*>(callable))(); }, "storm");
}

void spawn_and_join() noexcept {
  for (u32 i = 0; i < kThreads; ++i) handles[i] = spawn([i]() noexcept { storm(i); });
  for (const gvt::Handle handle : handles)
    expect_ok(kernel->join(handle, gvt::kNever), counts.joins);
}

bool right(const char* what, u64 got, u64 wanted) noexcept {
  if (got == wanted) return true;
  print("freestanding: ");
  print(what);
  print(": ");
  print(got);
  print(", expected ");
  print(wanted);
  print("\n");
  return false;
}

bool run_with(gvt::QueueKind queue) noexcept {
  counts = {};
  memset(kernel_memory, 0, sizeof kernel_memory);
  kernel = new (kernel_object) Kernel;
  kernel->init(config_with(queue), kernel_memory, &stack_memory);
  spawn(&spawn_and_join);
  const gvt::Error error = kernel->run_worker(0, true);
  bool good = right(gvt::error_name(error), error == gvt::Error::ok, true);
  good &= right("threads ended", counts.ended, kThreads);
  good &= right("yields", counts.yields, u64{kThreads} * kYields);
  good &= right("sleeps", counts.sleeps, u64{kThreads} * kSleeps);
  good &= right("parks", counts.parks, kThreads / 2);
  good &= right("unparks", counts.unparks, kThreads / 2);
  good &= right("joins", counts.joins, kThreads);
  good &= right("errors", counts.errors, 0);
  good &= right("kernel: spawned", kernel->count(gvt::core::Count::spawned), kThreads + 1);
  good &= right("kernel: ended", kernel->count(gvt::core::Count::ended), kThreads + 1);
  const Audit audit(*kernel, config_with(queue), kernel_memory, &stack_memory);
  good &= right("kernel: audit", static_cast<gvt::u64>(audit.full(audit_scratch).code), 0);
  return good;
}

}  // namespace

extern "C" [[noreturn, gnu::used]] void gvt_freestanding_main() noexcept {
  const bool simple = run_with(gvt::QueueKind::simple);
  const bool lock_free = run_with(gvt::QueueKind::lock_free);
  leave(simple && lock_free ? 0 : 1);
}

// The kernel enters with rsp 16-byte aligned, and no return address (System V ABI 3.4.1).
asm(R"(
    .text
    .globl _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined rip
    xorl %ebp, %ebp
    callq gvt_freestanding_main
    ud2
    .cfi_endproc
    .size _start, . - _start
)");
