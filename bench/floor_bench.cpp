// SPDX-License-Identifier: MIT
//
// floor_bench.cpp - what the machine itself takes for the same things, without any scheduler: the
// figures that no runtime can beat. Workloads have the names of those they bound, and further:
//   cmpxchg     an uncontended lock cmpxchg
//   futex       a round trip between two OS threads; 1 worker: pinned to one core, 2: to two cores
//   page-touch  the first touch of a page, 256 MiB in one piece
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <atomic>
#include <queue>
#include <thread>

#include "bench/common.hpp"

namespace {

using namespace bench;
constexpr u64 kSlotBytes = 64 * 1024;
constexpr u64 kPageBytes = 4096;

char* map_pages(u64 bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("mmap of %" PRIu64 " bytes: %s", bytes, std::strerror(errno));
  (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
  return static_cast<char*>(memory);
}

// ---- switch: what the textbooks have, a function that pushes what the ABI calls callee-saved,
// changes stacks, pops and returns; floating-point control is not kept. Every context calls it from
// one place, so that returns are predicted ----

extern "C" void gvt_bench_bare_switch(void** save, void* load);
asm(R"(
  .text
  .type gvt_bench_bare_switch, @function
gvt_bench_bare_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size gvt_bench_bare_switch, .-gvt_bench_bare_switch
)");

// ---- yield: a ring of contexts, each of which switches to the next. The tops of the stacks are
// staggered by 64 bytes and by a page, or they would share few sets of the caches and of the TLB
// ----

struct alignas(64) RingContext {
  void* sp;
};
struct Ring {
  std::vector<RingContext> contexts;
  void* main;
  u64 left = 0;
  u64 started = 0;
};
Ring ring;

[[noreturn]] void ring_entry() {
  const u64 i = ring.started++;
  RingContext& me = ring.contexts[i];
  RingContext& next = ring.contexts[i + 1 == ring.contexts.size() ? 0 : i + 1];
  for (;;) {
    // One branch a turn; the main context resumes whoever left for it.
    if (--ring.left == 0) [[unlikely]]
      gvt_bench_bare_switch(&me.sp, ring.main);
    gvt_bench_bare_switch(&me.sp, next.sp);
  }
}

void context_ring(Options& o, const Report& report) {
  constexpr u64 kStride = kSlotBytes + kPageBytes;
  constexpr u64 kSavedRegisters = 6;
  char* stacks = map_pages(o.threads * kStride);
  ring.contexts.resize(o.threads);
  for (u64 i = 0; i < o.threads; ++i) {
    auto* top = reinterpret_cast<u64*>(stacks + (i + 1) * kStride - i % 32 * 64);
    // As after a call: 8 past a multiple of 16.
    top[-2] = reinterpret_cast<u64>(&ring_entry);
    ring.contexts[i].sp = top - 2 - kSavedRegisters;
  }
  // Twice around, to end where the measured part resumes: at the last context.
  ring.left = 2 * o.threads;
  gvt_bench_bare_switch(&ring.main, ring.contexts[0].sp);
  const u64 turns = o.rounds() * o.threads;
  ring.left = turns;
  Meter meter;
  meter.start();
  gvt_bench_bare_switch(&ring.main, ring.contexts[o.threads - 1].sp);
  meter.stop();
  report.per_op(meter, turns);
}
void bare_switch(Options& o, const Report& report) {
  o.default_to(2, 100'000'000);
  context_ring(o, report);
}
void bare_ring(Options& o, const Report& report) {
  o.default_to(1000, 50'000'000);
  context_ring(o, report);
}

// ---- atomics and the kernel ----

void cmpxchg(Options& o, const Report& report) {
  o.default_to(1, 100'000'000);
  std::atomic<u64> word{0};
  Meter meter;
  meter.start();
  for (u64 i = 0; i < o.ops; ++i) {
    u64 expected = i;
    word.compare_exchange_strong(expected, i + 1);
  }
  meter.stop();
  if (word != o.ops) fail("cmpxchg lost an update");
  report.per_op(meter, o.ops);
}

long futex(std::atomic<u32>& word, int op, u32 value, const timespec* deadline) {
  return syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, deadline, nullptr,
                 FUTEX_BITSET_MATCH_ANY);
}
void futex_wait_for(std::atomic<u32>& word, u32 wanted) {
  for (u32 seen = word.load(); seen != wanted; seen = word.load()) {
    futex(word, FUTEX_WAIT_BITSET, seen, nullptr);
  }
}
void futex_set(std::atomic<u32>& word, u32 value) {
  word.store(value);
  futex(word, FUTEX_WAKE, 1, nullptr);
}

// The n-th CPU, from 0, of those this process may use.
void pin_to(u64 n) {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || n-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) fail("cannot pin a thread");
    return;
  }
  fail("this machine lends us fewer CPUs than --workers");
}

void futex_round_trip(Options& o, const Report& report) {
  o.default_to(2, 20'000);
  static std::atomic<u32> ping{0}, pong{0};
  pin_to(0);
  std::thread partner([&o] {
    pin_to(o.workers - 1);
    for (u32 i = 1; i <= o.ops + 100; ++i) {
      futex_wait_for(ping, i);
      futex_set(pong, i);
    }
  });
  Meter meter;
  for (u32 i = 1; i <= o.ops + 100; ++i) {
    if (i == 101) meter.start();
    futex_set(ping, i);
    futex_wait_for(pong, i);
  }
  meter.stop();
  partner.join();
  report.per_op(meter, o.ops);
}

void page_touch(Options& o, const Report& report) {
  o.default_to(1, 65'536);
  char* memory = map_pages(o.ops * kPageBytes);
  Meter meter;
  meter.start();
  for (u64 i = 0; i < o.ops; ++i) static_cast<volatile char*>(memory)[i * kPageBytes] = 1;
  meter.stop();
  report.per_op(meter, o.ops);
}

// As many pages as there are parked threads, at the stride of their slots.
void million_pages(Options& o, const Report& report) {
  constexpr u64 kStride = kSlotBytes + kPageBytes;  // the guard's
  o.default_to(1'000'000, 1);
  char* memory = map_pages(o.threads * kStride);
  const u64 rss_before = self_bytes("VmRSS:"), pte_before = self_bytes("VmPTE:");
  Meter meter;
  meter.start();
  for (u64 i = 0; i < o.threads; ++i) static_cast<volatile char*>(memory)[i * kStride] = 1;
  meter.stop();
  const auto n = static_cast<double>(o.threads);
  const double rss = static_cast<double>(self_bytes("VmRSS:") - rss_before);
  const double pte = static_cast<double>(self_bytes("VmPTE:") - pte_before);
  report.line("wall", "s", meter.wall_ns() / 1e9);
  report.line("rss", "bytes/thread", rss / n);
  report.line("page-tables", "bytes/thread", pte / n);
  report.line("memory", "bytes/thread", (rss + pte) / n);
  report.conditions(meter, o.threads);
}

// ---- lateness: one OS thread with a heap of as many deadlines as the runtimes have sleepers; one
// sleeper is a bare timer wait ----

void lateness(Options& o, const Report& report) {
  o.default_to(1000, 20'000);
  prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
  std::atomic<u32> never{0};
  std::vector<i64> late_ns;
  late_ns.reserve(o.threads * o.rounds());
  struct Sleeper {
    u64 deadline_ns;
    u64 rounds;
    Random random;
    bool operator<(const Sleeper& other) const { return deadline_ns > other.deadline_ns; }
  };
  std::priority_queue<Sleeper> heap;
  const auto sleep_again = [&heap](Sleeper s) {
    s.deadline_ns = now_ns() + s.random.between(1000, 50'000) * 1000;
    heap.push(s);
  };
  Meter meter;
  meter.start();
  for (u64 i = 0; i < o.threads; ++i) sleep_again({0, o.rounds(), {i}});
  while (!heap.empty()) {
    Sleeper s = heap.top();
    const u64 now = now_ns();
    if (now < s.deadline_ns) {
      const timespec deadline{static_cast<time_t>(s.deadline_ns / 1'000'000'000),
                              static_cast<long>(s.deadline_ns % 1'000'000'000)};
      futex(never, FUTEX_WAIT_BITSET, 0, &deadline);
      continue;
    }
    heap.pop();
    late_ns.push_back(static_cast<i64>(now - s.deadline_ns));
    if (--s.rounds > 0) sleep_again(s);
  }
  meter.stop();
  report.lateness(late_ns);
  report.conditions(meter, late_ns.size());
}

struct Floor {
  std::string_view name;
  void (*run)(Options&, const Report&);
  u64 max_workers;
};
constexpr Floor kFloors[] = {
    {"switch", bare_switch, 1},     {"yield", bare_ring, 1},       {"cmpxchg", cmpxchg, 1},
    {"futex", futex_round_trip, 2}, {"page-touch", page_touch, 1}, {"million", million_pages, 1},
    {"lateness", lateness, 1},
};

}  // namespace

int main(int argc, char** argv) {
  std::string names;
  for (const Floor& f : kFloors) names += std::string(f.name) + ' ';
  Options options = parse_options(argc, argv, names.c_str());
  for (const Floor& f : kFloors) {
    if (f.name != options.workload) continue;
    if (options.workers > f.max_workers) refuse("--workers", "is more than this floor has");
    f.run(options, Report(options, "floor"));
    return 0;
  }
  refuse("--workload", options.workload.c_str());
}
