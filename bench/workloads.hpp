// SPDX-License-Identifier: MIT
//
// workloads.hpp - the workloads, once for every runtime with a C++ interface: each program supplies
// a type R that says how its runtime starts, spawns, yields, sleeps and waits, in the way its own
// manual recommends, and gets the same measurement. bench/go/bench is the same in Go.
//
//   R::kName, R::kMaxWorkers
//   R::run(options, max_threads, body)   body() is a thread of a runtime with options.workers
//                                        workers; returns when all threads have ended
//   R::spawn(f), R::yield(), R::sleep_until(absolute_ns)
//   R::Joinable j = R::spawn_joinable(f), R::join(j)
//   R::Signal    one thread calls bind() and then wait(); another notify(). One token.
//   R::Latch(n)  any n threads call done(), one thread wait()
//   R::Gate(n)   thread i of n calls wait(i); another open()
//   R::Mutex     optional: lock(), unlock()
//   R::raw_switch(meter, n)  optional: n switches, one way, between two contexts, without scheduler
//   R::counters(report, ops) what the runtime has counted itself
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "bench/common.hpp"

namespace bench {

// How many threads call arrive() before each goes on. The clock starts with the last of them, so
// spawning, first runs and first touches are not in the figure; all have started, also those that
// another worker had to steal.
template <class R>
class StartLine {
 public:
  StartLine(u64 threads, Meter& meter) : missing_(threads), meter_(meter) {}

  void arrive() {
    if (missing_.fetch_sub(1) == 1) {
      meter_.start();
      go_.store(true);
    }
    while (!go_.load()) R::yield();
  }

 private:
  std::atomic<u64> missing_;
  std::atomic<bool> go_{false};
  Meter& meter_;
};

// The clock stops with the last thread.
class FinishLine {
 public:
  FinishLine(u64 threads, Meter& meter) : missing_(threads), meter_(meter) {}
  void arrive() {
    if (missing_.fetch_sub(1) == 1) meter_.stop();
  }

 private:
  std::atomic<u64> missing_;
  Meter& meter_;
};

template <class R>
struct Workloads {
  Options& o;
  Report report{o, R::kName};

  void raw_switch() {
    o.default_to(2, 100'000'000);
    Meter meter;
    R::raw_switch(meter, o.ops);
    report.per_op(meter, o.ops);
  }

  void yield() {
    o.default_to(1000, 50'000'000);
    const u64 rounds = o.rounds();
    Meter meter;
    StartLine<R> start(o.threads, meter);
    FinishLine finish(o.threads, meter);
    R::run(o, o.threads + 1, [&] {
      typename R::Latch all(o.threads);
      struct Shared {
        StartLine<R>& start;
        FinishLine& finish;
        typename R::Latch& all;
        u64 rounds;
      } s{start, finish, all, rounds};
      for (u64 i = 0; i < o.threads; ++i) {
        R::spawn([&s] {
          s.start.arrive();
          for (u64 k = 0; k < s.rounds; ++k) R::yield();
          s.finish.arrive();
          s.all.done();
        });
      }
      all.wait();
    });
    // The clock sees `rounds` yields of each thread, and its way back from the start line's.
    const u64 ops = o.threads * (rounds + 1);
    report.per_op(meter, ops);
    R::counters(report, ops);
  }

  // All at once: the spawner does not give way before the last is spawned.
  void spawn() {
    o.default_to(0, 1'000'000);
    o.threads = o.ops;
    spawn_waves_of(o.ops, 1);
    report.line("peak-rss", "MB", static_cast<double>(self_bytes("VmHWM:")) / 1e6);
  }

  void spawn_waves() {
    o.default_to(1000, 2'000'000);
    spawn_waves_of(o.threads, o.rounds());
  }

  void spawn_waves_of(u64 threads, u64 waves) {
    Meter meter;
    std::atomic<u64> ran{0};
    R::run(o, threads + 1, [&] {
      const auto wave = [&] {
        typename R::Latch all(threads);
        struct Shared {
          std::atomic<u64>& ran;
          typename R::Latch& all;
        } s{ran, all};
        for (u64 i = 0; i < threads; ++i) {
          R::spawn([&s] {
            s.ran.fetch_add(1, std::memory_order_relaxed);
            s.all.done();
          });
        }
        all.wait();
      };
      if (waves > 1) wave();  // the first fills pools and touches stacks: not measured
      meter.start();
      for (u64 w = 0; w < waves; ++w) wave();
      meter.stop();
    });
    const u64 expected = threads * (waves + (waves > 1 ? 1 : 0));
    if (ran != expected) fail("%" PRIu64 " of %" PRIu64 " threads ran", ran.load(), expected);
    report.per_op(meter, threads * waves);
    R::counters(report, threads * waves);
  }

  void spawn_join() {
    o.default_to(1, 2'000'000);
    Meter meter;
    u64 ran = 0;
    R::run(o, 16, [&] {
      for (u64 i = 0; i < 1000 + o.ops; ++i) {
        if (i == 1000) meter.start();
        auto thread = R::spawn_joinable([&ran] { ++ran; });
        R::join(thread);
      }
      meter.stop();
    });
    if (ran != 1000 + o.ops) fail("%" PRIu64 " of %" PRIu64 " threads ran", ran, 1000 + o.ops);
    report.per_op(meter, o.ops);
    R::counters(report, o.ops);
  }

  // Both wait for each other in turn: two wakes and two waits make one round trip.
  void pingpong() {
    o.default_to(2, 5'000'000);
    constexpr u64 kWarmUp = 1000;
    const u64 rounds = kWarmUp + o.ops;
    Meter meter;
    R::run(o, 3, [&] {
      typename R::Signal ping, pong, ready;
      typename R::Latch all(2);
      ready.bind();
      R::spawn([&] {
        ping.bind();
        ready.notify();
        for (u64 i = 0; i < rounds; ++i) {
          ping.wait();
          pong.notify();
        }
        all.done();
      });
      ready.wait();
      R::spawn([&] {
        pong.bind();
        for (u64 i = 0; i < rounds; ++i) {
          if (i == kWarmUp) meter.start();
          ping.notify();
          pong.wait();
        }
        meter.stop();
        all.done();
      });
      all.wait();
    });
    report.per_op(meter, o.ops);
    R::counters(report, o.ops);
  }

  // threads x ops sleeps of sleep_ms each; the clock runs from the first spawn to the last end.
  void storm() {
    o.default_to(20'000, 20'000 * 50);
    const u64 rounds = o.rounds();
    Meter meter;
    std::atomic<u64> slept{0};
    R::run(o, o.threads + 1, [&] {
      typename R::Latch all(o.threads);
      struct Shared {
        typename R::Latch& all;
        std::atomic<u64>& slept;
        u64 rounds, sleep_ns;
      } s{all, slept, rounds, o.sleep_ms * 1'000'000};
      meter.start();
      for (u64 i = 0; i < o.threads; ++i) {
        R::spawn([&s] {
          for (u64 k = 0; k < s.rounds; ++k) R::sleep_until(now_ns() + s.sleep_ns);
          s.slept.fetch_add(s.rounds, std::memory_order_relaxed);
          s.all.done();
        });
      }
      all.wait();
      meter.stop();
    });
    if (slept != o.threads * rounds) {
      fail("%" PRIu64 " of %" PRIu64 " sleeps", slept.load(), o.threads * rounds);
    }
    report.line("wall", "s", meter.wall_ns() / 1e9);
    report.line("cpu", "s", meter.cpu_ns() / 1e9);
    report.conditions(meter, o.threads * rounds);
    R::counters(report, o.threads * rounds);
  }

  // All threads sleep for hours. An OS thread that is none of the runtime's looks at the clocks
  // before and after, leaves itself out, and ends the process: nobody else runs any more.
  void idle() {
    o.default_to(20'000, 1);
    std::atomic<u64> asleep{0};
    std::thread observer([&] {
      while (asleep.load() < o.threads) os_sleep_ns(10'000'000);
      os_sleep_ns(500'000'000);
      // The two clocks are read one after the other, so a difference can come out below zero.
      const auto others_cpu = [] {
        const u64 mine = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        return static_cast<double>(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - mine);
      };
      const u64 switches_before = other_tasks_switches();
      const double cpu_before = others_cpu();
      os_sleep_ns(o.seconds * 1'000'000'000);
      const double cpu_after = others_cpu();
      report.line("cpu", "ms", std::max(0.0, cpu_after - cpu_before) / 1e6);
      report.line("os-wakeups", "wakes",
                  static_cast<double>(other_tasks_switches() - switches_before));
      report.line("peak-rss", "MB", static_cast<double>(self_bytes("VmHWM:")) / 1e6);
      std::fflush(stdout);
      _exit(0);
    });
    R::run(o, o.threads + 1, [&] {
      const u64 deadline = now_ns() + u64{10} * 3600 * 1'000'000'000;
      struct Shared {
        std::atomic<u64>& asleep;
        u64 deadline;
      } s{asleep, deadline};
      for (u64 i = 0; i < o.threads; ++i) {
        R::spawn([&s] {
          s.asleep.fetch_add(1);
          R::sleep_until(s.deadline);
        });
      }
      R::sleep_until(deadline);
    });
    fail("the sleepers woke up");
  }

  // All parked at once, each on a stack that it has touched.
  void million() {
    o.default_to(1'000'000, 1);
    Meter meter;
    double rss = 0, pte = 0;
    R::run(o, o.threads + 1, [&] {
      typename R::Gate gate(o.threads);
      typename R::Latch all(o.threads);
      std::atomic<u64> parked{0};
      struct Shared {
        typename R::Gate& gate;
        typename R::Latch& all;
        std::atomic<u64>& parked;
      } s{gate, all, parked};
      const u64 rss_before = self_bytes("VmRSS:"), pte_before = self_bytes("VmPTE:");
      meter.start();
      for (u64 i = 0; i < o.threads; ++i) {
        R::spawn([&s, i] {
          s.parked.fetch_add(1);
          s.gate.wait(i);
          s.all.done();
        });
      }
      while (parked.load() < o.threads) R::yield();
      for (int i = 0; i < 3; ++i) R::yield();
      meter.stop();
      rss = static_cast<double>(self_bytes("VmRSS:") - rss_before);
      pte = static_cast<double>(self_bytes("VmPTE:") - pte_before);
      gate.open();
      all.wait();
    });
    const auto n = static_cast<double>(o.threads);
    report.line("wall", "s", meter.wall_ns() / 1e9);
    report.line("rss", "bytes/thread", rss / n);
    report.line("page-tables", "bytes/thread", pte / n);
    report.line("memory", "bytes/thread", (rss + pte) / n);
    report.conditions(meter, o.threads);
    R::counters(report, o.threads);
  }

  // A tree with fan-out 10 whose leaves sum up their numbers; --ops is the number of leaves.
  void skynet() {
    o.default_to(0, 1'000'000);
    u64 nodes = 1, leaves = 1;
    while (leaves < o.ops) nodes += leaves *= 10;
    if (leaves != o.ops) fail("--ops is the number of leaves: a power of 10");
    o.threads = nodes;
    Meter meter;
    std::atomic<u64> sum{0};
    R::run(o, nodes + 1, [&] {
      meter.start();
      Branch root(1, sum);
      R::spawn([&root, leaves] { node(root, 0, leaves); });
      root.all.wait();
      meter.stop();
    });
    const u64 expected = leaves * (leaves - 1) / 2;
    if (sum != expected) fail("the sum is %" PRIu64 ", not %" PRIu64, sum.load(), expected);
    report.line("wall", "ms", meter.wall_ns() / 1e6);
    report.line("peak-rss", "MB", static_cast<double>(self_bytes("VmHWM:")) / 1e6);
    report.conditions(meter, nodes);
    R::counters(report, nodes);
  }

  struct Branch {
    typename R::Latch all;
    std::atomic<u64>& sum;
    Branch(u64 children, std::atomic<u64>& into) : all(children), sum(into) {}
  };

  static void node(Branch& parent, u64 first, u64 leaves) {
    if (leaves == 1) {
      parent.sum.fetch_add(first, std::memory_order_relaxed);
    } else {
      std::atomic<u64> sum{0};
      Branch me(10, sum);
      for (u64 i = 0; i < 10; ++i) {
        R::spawn([&me, at = first + i * (leaves / 10), leaves] { node(me, at, leaves / 10); });
      }
      me.all.wait();
      parent.sum.fetch_add(sum, std::memory_order_relaxed);
    }
    parent.all.done();
  }

  // Sleeps of 1 to 50 ms, in whole microseconds; how long after its deadline does each go on?
  void lateness() {
    o.default_to(1000, 20'000);
    const u64 rounds = o.rounds();
    std::vector<i64> late_ns(o.threads * rounds, 1);  // touched before the clock matters
    Meter meter;
    R::run(o, o.threads + 1, [&] {
      typename R::Latch all(o.threads);
      struct Shared {
        typename R::Latch& all;
        i64* late_ns;
        u64 rounds;
      } s{all, late_ns.data(), rounds};
      meter.start();
      for (u64 i = 0; i < o.threads; ++i) {
        R::spawn([&s, i] {
          Random random{i};
          for (u64 k = 0; k < s.rounds; ++k) {
            const u64 deadline = now_ns() + random.between(1000, 50'000) * 1000;
            R::sleep_until(deadline);
            s.late_ns[i * s.rounds + k] = static_cast<i64>(now_ns()) - static_cast<i64>(deadline);
          }
          s.all.done();
        });
      }
      all.wait();
      meter.stop();
    });
    report.lateness(late_ns);
    report.conditions(meter, late_ns.size());
    R::counters(report, late_ns.size());
  }

  // One thread spawns work of about 1 us each and gives way only when `threads` are unfinished, so
  // whatever another worker does it has stolen.
  void steal() {
    o.default_to(1000, 1'000'000);
    const double work_ns = measured_work_ns();
    Meter meter;
    std::atomic<u64> finished{0};
    R::run(o, o.threads + 2, [&] {
      typename R::Latch all(o.ops);
      struct Shared {
        typename R::Latch& all;
        std::atomic<u64>& finished;
      } s{all, finished};
      meter.start();
      for (u64 i = 0; i < o.ops; ++i) {
        R::spawn([&s, i] {
          const u64 result = work_1us(i);
          asm volatile("" : : "r"(result));
          s.finished.fetch_add(1, std::memory_order_relaxed);
          s.all.done();
        });
        while (i + 1 - finished.load(std::memory_order_relaxed) >= o.threads) R::yield();
      }
      all.wait();
      meter.stop();
    });
    if (finished != o.ops) fail("%" PRIu64 " of %" PRIu64 " done", finished.load(), o.ops);
    report.line("work", "ns", work_ns);
    report.per_op(meter, o.ops);
    R::counters(report, o.ops);
  }

  // threads take one lock in turn and add to what it guards.
  void mutex() {
    if constexpr (requires { typename R::Mutex; }) {
      o.default_to(64, 10'000'000);
      const u64 rounds = o.rounds();
      Meter meter;
      StartLine<R> start(o.threads, meter);
      FinishLine finish(o.threads, meter);
      u64 count = 0;
      R::run(o, o.threads + 1, [&] {
        typename R::Latch all(o.threads);
        typename R::Mutex mutex;
        struct Shared {
          StartLine<R>& start;
          FinishLine& finish;
          typename R::Latch& all;
          typename R::Mutex& mutex;
          u64& count;
          u64 rounds;
        } s{start, finish, all, mutex, count, rounds};
        for (u64 i = 0; i < o.threads; ++i) {
          R::spawn([&s] {
            s.start.arrive();
            for (u64 k = 0; k < s.rounds; ++k) {
              s.mutex.lock();
              ++s.count;
              s.mutex.unlock();
            }
            s.finish.arrive();
            s.all.done();
          });
        }
        all.wait();
      });
      if (count != o.threads * rounds) fail("the mutex does not exclude");
      report.per_op(meter, count);
      R::counters(report, count);
    }
  }

  using Member = void (Workloads::*)();
  struct Named {
    std::string_view name;
    Member run;
  };
  static std::vector<Named> all() {
    std::vector<Named> list = {
        {"yield", &Workloads::yield},
        {"spawn", &Workloads::spawn},
        {"spawn-waves", &Workloads::spawn_waves},
        {"spawn-join", &Workloads::spawn_join},
        {"pingpong", &Workloads::pingpong},
        {"storm", &Workloads::storm},
        {"idle", &Workloads::idle},
        {"million", &Workloads::million},
        {"skynet", &Workloads::skynet},
        {"lateness", &Workloads::lateness},
        {"steal", &Workloads::steal},
    };
    if constexpr (requires(Meter& m) { R::raw_switch(m, 1); }) {
      list.push_back({"switch", &Workloads::raw_switch});
    }
    if constexpr (requires { typename R::Mutex; }) list.push_back({"mutex", &Workloads::mutex});
    return list;
  }
};

template <class R>
int run_workload(int argc, char** argv) {
  std::string names;
  for (const auto& w : Workloads<R>::all()) names += std::string(w.name) + ' ';
  Options options = parse_options(argc, argv, names.c_str());
  if (options.workers > R::kMaxWorkers) {
    refuse("--workers", "is more than this runtime can have");
  }
  for (const auto& w : Workloads<R>::all()) {
    if (w.name != options.workload) continue;
    Workloads<R> workloads{options};
    (workloads.*w.run)();
    return 0;
  }
  refuse("--workload", options.workload.c_str());
}

}  // namespace bench
