// SPDX-License-Identifier: MIT
//
// idle_process_test.cpp - 20 000 sleeping threads use no CPU and wake nobody: for some seconds no
// context switch of any OS thread but the observer's own, and no CPU time. GVT_IDLE_SECONDS sets
// how long (default 10). Source: proc(5), /proc/self/task/*/status.
#include <sys/resource.h>
#include <time.h>
#include <gvthread/gvthread.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "tests/support/build.hpp"
#include "tests/support/proc.hpp"

namespace {

using namespace std::chrono_literals;

constexpr gvt::u32 kThreads = gvt::test::scaled_threads(20'000);

struct Snapshot {
  std::map<gvt::u32, gvt::u64> switches;  // by OS thread, without the observer's
  double cpu_s = 0;                       // all but the observer's
};

Snapshot observe() {
  Snapshot s;
  const gvt::u32 self = gvt::test::own_tid();
  gvt::test::for_each_task([&](gvt::u32 tid) {
    if (tid != self) s.switches[tid] = gvt::test::context_switches(tid);
  });
  timespec all;
  timespec mine;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &all);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mine);
  s.cpu_s = static_cast<double>(all.tv_sec - mine.tv_sec) +
            1e-9 * static_cast<double>(all.tv_nsec - mine.tv_nsec);
  return s;
}

int idle(gvt::QueueKind queue, gvt::u32 seconds) {
  gvt::Runtime runtime;
  const gvt::Status status = runtime.start({.workers = 2,
                                            .max_threads = kThreads,
                                            .slot_bytes = 64 * 1024,
                                            .queue = queue,
                                            .caller_is_worker = false});
  if (!status.ok()) return status.print(), 1;
  for (gvt::u32 i = 0; i < kThreads; ++i) {
    if (!runtime.spawn([i] { (void)gvt::sleep_for(1h + 1ms * i); }).ok()) return 1;
  }
  while (runtime.stats().parks < kThreads) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(100ms);  // both workers have gone to sleep
  const Snapshot before = observe();
  const gvt::Stats stats_before = runtime.stats();
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  const Snapshot after = observe();
  const gvt::Stats stats_after = runtime.stats();
  int failures = 0;
  for (const auto& [tid, switches] : after.switches) {
    const auto old = before.switches.find(tid);
    if (old == before.switches.end() || old->second != switches) {
      std::printf("OS thread %u: %llu context switches\n", tid,
                  static_cast<unsigned long long>(
                      old == before.switches.end() ? switches : switches - old->second));
      ++failures;
    }
  }
  const double cpu_ms = 1e3 * (after.cpu_s - before.cpu_s);
  if (cpu_ms > 0.05) ++failures;
  if (stats_after.sleeps != stats_before.sleeps || stats_after.wakeups != stats_before.wakeups)
    ++failures;
  std::printf("%s: %u threads, %zu workers, %u s: CPU %.3f ms: %s\n", gvt::queue_kind_name(queue),
              kThreads, after.switches.size(), seconds, cpu_ms, failures == 0 ? "ok" : "FAILED");
  std::fflush(stdout);
  (void)runtime.shutdown();
  return failures;
}

}  // namespace

int main() {
  if (gvt::test::kTsan) {
    std::puts("skipped: this sanitizer has a periodic OS thread of its own");
    return 0;
  }
  const char* text = std::getenv("GVT_IDLE_SECONDS");
  const int seconds = text != nullptr ? std::atoi(text) : 10;
  const auto window = static_cast<gvt::u32>(seconds > 0 ? seconds : 1);
  return idle(gvt::QueueKind::lock_free, window) + idle(gvt::QueueKind::simple, 1) == 0 ? 0 : 1;
}
