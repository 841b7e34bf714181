// SPDX-License-Identifier: MIT
//
// gvthread_bench.cpp - the workloads of bench/workloads.hpp on gvthread: 64 KiB slots, guards as
// the kernel offers them, the default ready queue unless --scheduler says simple or lock-free.
#include <sys/mman.h>
#include <gvthread/gvthread.hpp>

#include "arch/x86_64/context.hpp"
#include "bench/workloads.hpp"

namespace {

using bench::fail;
using bench::Meter;
using bench::Options;
using bench::Report;
using bench::u64;

struct Gvthread {
  static constexpr const char* kName = "gvthread";
  static constexpr u64 kMaxWorkers = gvt::kMaxWorkers;
  static inline gvt::Stats stats{};

  static void check(gvt::Error error, const char* what) {
    if (error != gvt::Error::ok) fail("%s: %s", what, gvt::error_name(error));
  }

  template <class Body>
  static void run(const Options& o, u64 max_threads, Body body) {
    gvt::Config config;
    config.workers = static_cast<gvt::u32>(o.workers);
    config.max_threads = static_cast<gvt::u32>(max_threads);
    config.slot_bytes = 64 * 1024;
    if (o.scheduler == "simple") {
      config.queue = gvt::QueueKind::simple;
    } else if (o.scheduler == "lock-free") {
      config.queue = gvt::QueueKind::lock_free;
    } else if (!o.scheduler.empty()) {
      bench::refuse("--scheduler", "is simple or lock-free");
    }
    gvt::Runtime runtime;
    if (const auto status = runtime.start(config); !status.ok()) {
      char text[256];
      status.message(text, sizeof text);
      fail("start: %s", text);
    }
    if (const auto main = runtime.spawn([&body] { body(); }); !main.ok()) {
      fail("spawn: %s", gvt::error_name(main.error()));
    }
    check(runtime.run(), "run");
    stats = runtime.stats();
    if (stats.ended != stats.spawned)
      fail("%llu threads of %llu ended", static_cast<unsigned long long>(stats.ended),
           static_cast<unsigned long long>(stats.spawned));
  }

  // An ended thread gives its slot back a moment after its last word, so a full runtime is worth a
  // second try.
  template <class F>
  static gvt::Handle spawn_joinable(F f) {
    for (int tries = 0;; ++tries) {
      const auto thread = gvt::spawn(f);
      if (thread.ok()) return thread.value();
      if (thread.error() != gvt::Error::no_slot || tries == 1000) {
        fail("spawn: %s", gvt::error_name(thread.error()));
      }
      gvt::yield();
    }
  }
  template <class F>
  static void spawn(F f) {
    (void)spawn_joinable(f);
  }
  using Joinable = gvt::Handle;
  static void join(Joinable thread) { check(gvt::join(thread), "join"); }
  static void yield() { gvt::yield(); }
  static void sleep_until(u64 ns) { check(gvt::sleep_until(gvt::Deadline(ns)), "sleep"); }

  class Signal {
   public:
    void bind() { waiter_ = gvt::this_thread::id(); }
    void wait() { check(gvt::park(), "park"); }
    void notify() { check(gvt::unpark(waiter_), "unpark"); }

   private:
    gvt::Handle waiter_;
  };

  // Lives on its waiter's stack, which may go on, and end, as soon as the count is zero.
  class Latch {
   public:
    explicit Latch(u64 count) : left_(count), waiter_(gvt::this_thread::id()) {}
    void done() {
      const gvt::Handle waiter = waiter_;
      if (left_.fetch_sub(1) == 1) (void)gvt::unpark(waiter);
    }
    void wait() {
      while (left_.load() != 0) check(gvt::park(), "park");
    }

   private:
    std::atomic<u64> left_;
    gvt::Handle waiter_;
  };

  class Gate {
   public:
    explicit Gate(u64 count) : waiters_(count, gvt::this_thread::id()) {}
    void wait(u64 i) {
      waiters_[i] = gvt::this_thread::id();
      check(gvt::park(), "park");
    }
    void open() {
      for (const gvt::Handle waiter : waiters_) check(gvt::unpark(waiter), "unpark");
    }

   private:
    std::vector<gvt::Handle> waiters_;
  };

  // The context switch alone. The floor's counterpart is a bare push, switch and ret.
  static void raw_switch(Meter& meter, u64 switches) {
    using Arch = gvt::x86_64::Arch;
    static Arch::Context mine, other;
    constexpr std::size_t kStackBytes = 64 * 1024;
    alignas(16) static char stack[kStackBytes];
    Arch::make_context(other, stack + kStackBytes, [](void*) {
      for (;;) Arch::switch_context(other, mine, nullptr);
    });
    Arch::switch_context(mine, other, nullptr);
    meter.start();
    for (u64 i = 0; i < switches / 2; ++i) Arch::switch_context(mine, other, nullptr);
    meter.stop();
  }

  static void counters(const Report& report, u64 ops) {
    const auto line = [&](const char* metric, gvt::u64 count) {
      report.line(metric, "per 1000 ops",
                  static_cast<double>(count) * 1000 / static_cast<double>(ops));
    };
    line("worker-sleeps", stats.sleeps);
    line("worker-wakeups", stats.wakeups);
    line("steals", stats.steals);
  }
};

}  // namespace

int main(int argc, char** argv) { return bench::run_workload<Gvthread>(argc, argv); }
