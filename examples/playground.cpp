// SPDX-License-Identifier: MIT
//
// playground.cpp - the storm: many green threads that each yield or sleep again and again; counts
// what happened and says whether anything is missing. Options come from the environment or from
// flags, see --help; its twin in Go is bench/go/playground. Exit code 0: all done, 1: something is
// missing, 2: bad input, nothing was started. Tests: tests/cli/playground_test.sh.
//
// The job runs in green threads alone: one, the spawner, spawns the others, and waits for the end
// of the oldest when all slots are in use. Each thread counts for itself and adds to the shared
// counters once, at its end. The only thing beside the job is the watcher, an OS thread that prints
// the progress line on stderr; it waits in the kernel between two lines (5 s; 1 s on a terminal).
// With --json, or with --quiet, and without --timeout-s there is none: then nothing at all ticks.
#include <sys/resource.h>
#include <unistd.h>
#include <gvthread/gvthread.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "examples/playground_options.hpp"

namespace {

using namespace playground;
using std::chrono::steady_clock;

// ---- the job ----

struct alignas(64) Counter {
  std::atomic<u64> value{0};

  void add(u64 n) { value.fetch_add(n, std::memory_order_relaxed); }  // a sum; publishes nothing
  u64 get() const { return value.load(std::memory_order_relaxed); }
};

struct Job {
  u64 gvthreads = 0;
  u64 yields = 0;
  std::chrono::milliseconds sleep{};
  std::vector<gvt::Handle> handles;  // of the last `slots` spawned, by number modulo slots
  Counter spawned, started, completed, total_yields;
  std::atomic<gvt::Error> error{gvt::Error::ok};  // the first that stopped the spawner

  u64 expected_yields() const { return gvthreads * yields; }
};

void storm_thread(Job& job) {
  job.started.add(1);
  u64 done = 0;
  for (; done < job.yields; ++done) {
    if (job.sleep.count() == 0) {
      gvt::yield();
    } else if (gvt::sleep_for(job.sleep) != gvt::Error::ok) {
      break;
    }
  }
  job.total_yields.add(done);
  if (done == job.yields) job.completed.add(1);
}

void spawner_thread(Job& job) {
  const u64 slots = job.handles.size();
  u64 joined = 0;
  const auto join_oldest = [&] { (void)gvt::join(job.handles[joined++ % slots]); };
  for (u64 i = 0; i < job.gvthreads; ++i) {
    if (i - joined == slots) join_oldest();
    auto thread = gvt::spawn([&job] { storm_thread(job); });
    while (!thread.ok() && thread.error() == gvt::Error::no_slot) {
      // A join can return just before the ended thread has given its slot back: then, with nobody
      // left to join, a yield or two.
      joined < i ? join_oldest() : gvt::yield();
      thread = gvt::spawn([&job] { storm_thread(job); });
    }
    if (!thread.ok()) return job.error.store(thread.error(), std::memory_order_relaxed);
    job.handles[i % slots] = thread.value();
    job.spawned.add(1);
  }
}

// ---- results ----

struct Usage {
  steady_clock::time_point at = steady_clock::now();
  double user_s = 0;
  double sys_s = 0;

  Usage() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    user_s = seconds(usage.ru_utime);
    sys_s = seconds(usage.ru_stime);
  }
};

// The process's own peak. getrusage's would include that of the program before exec.
long peak_rss_kb() {
  long kb = -1;
  if (std::FILE* status = std::fopen("/proc/self/status", "r")) {
    char line[128];
    while (kb < 0 && std::fgets(line, sizeof line, status) != nullptr) {
      if (std::sscanf(line, "VmHWM: %ld", &kb) != 1) kb = -1;
    }
    std::fclose(status);
  }
  if (kb >= 0) return kb;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

struct Results {
  double wall_s, cpu_user_s, cpu_sys_s;
  u64 spawned, started, completed, yields, switches;
  long rss_kb;
  std::string missing;  // what, or empty
};

Results results_of(const Job& job, const Usage& before, const gvt::Stats& stats, bool timed_out) {
  const Usage after;
  Results r{std::chrono::duration<double>(after.at - before.at).count(),
            after.user_s - before.user_s,
            after.sys_s - before.sys_s,
            job.spawned.get(),
            job.started.get(),
            job.completed.get(),
            job.total_yields.get(),
            stats.switches,
            peak_rss_kb(),
            {}};
  const auto expect = [&r](const char* what, u64 got, u64 wanted) {
    if (got == wanted) return;
    const bool less = got < wanted;
    r.missing += (r.missing.empty() ? "" : ", ") +
                 std::to_string(less ? wanted - got : got - wanted) + " " + what +
                 (less ? " missing" : " too many");
  };
  if (timed_out) r.missing = "timed out";
  if (const gvt::Error error = job.error.load(); error != gvt::Error::ok)
    r.missing = std::string("spawn failed with ") + gvt::error_name(error);
  expect("spawned", r.spawned, job.gvthreads);
  expect("started", r.started, job.gvthreads);
  expect("completed", r.completed, job.gvthreads);
  expect("yields", r.yields, job.expected_yields());
  return r;
}

void print_json(const Options& o, const Results& r) {
  std::printf(
      "{\"workers\":%llu,\"gvthreads\":%llu,\"yields\":%llu,\"sleep_ms\":%llu,\"spawned\":%llu,"
      "\"started\":%llu,\"completed\":%llu,\"total_yields\":%llu,\"wall_s\":%.6f,"
      "\"cpu_user_s\":%.6f,\"cpu_sys_s\":%.6f,\"switches\":%llu,\"peak_rss_kb\":%ld,\"ok\":%s}\n",
      0ULL + o.workers.value, 0ULL + o.gvthreads.value, 0ULL + o.yields.value,
      0ULL + o.sleep_ms.value, 0ULL + r.spawned, 0ULL + r.started, 0ULL + r.completed,
      0ULL + r.yields, r.wall_s, r.cpu_user_s, r.cpu_sys_s, 0ULL + r.switches, r.rss_kb,
      r.missing.empty() ? "true" : "false");
}

void print_text(const Job& job, const Results& r) {
  std::printf("spawned    %llu\nstarted    %llu\ncompleted  %llu\n", 0ULL + r.spawned,
              0ULL + r.started, 0ULL + r.completed);
  std::printf("yields     %llu of %llu\n", 0ULL + r.yields, 0ULL + job.expected_yields());
  std::printf("wall       %.3f s\n", r.wall_s);
  std::printf("cpu        %.3f s (user %.3f, sys %.3f)\n", r.cpu_user_s + r.cpu_sys_s, r.cpu_user_s,
              r.cpu_sys_s);
  std::printf("switches   %llu (%.0f/s)\n", 0ULL + r.switches,
              r.wall_s > 0 ? static_cast<double>(r.switches) / r.wall_s : 0.0);
  std::printf("peak rss   %ld KiB\n", r.rss_kb);
  if (r.missing.empty()) {
    std::puts("SUCCESS");
  } else {
    std::printf("FAILURE: %s\n", r.missing.c_str());
  }
}

// 0 or 1, for exit.
int report(const Options& options, const Job& job, const Results& r) {
  options.json ? print_json(options, r) : print_text(job, r);
  std::fflush(stdout);
  return r.missing.empty() ? 0 : kExitMissing;
}

// ---- the watcher ----

// Prints progress, and ends the program when its time is up.
class Watcher {
 public:
  Watcher(const Options& options, const gvt::Runtime& runtime, const Job& job, const Usage& before)
      : options_(options), runtime_(runtime), job_(job), before_(before) {
    if (shows_progress() || options.timeout_s.value != 0)
      thread_ = std::thread([this] { watch(); });
  }
  // After it nothing more is printed.
  ~Watcher() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard guard(mutex_);
      done_ = true;
    }
    changed_.notify_one();
    thread_.join();
    if (in_place_ && printed_) std::fputs("\r\033[K", stderr);
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 private:
  bool shows_progress() const { return !options_.json && !options_.quiet; }

  void watch() {
    const auto tick = in_place_ ? std::chrono::seconds(1) : std::chrono::seconds(5);
    const auto never = steady_clock::time_point::max();
    const auto end = options_.timeout_s.value != 0
                         ? before_.at + std::chrono::seconds(options_.timeout_s.value)
                         : never;
    auto next = shows_progress() ? before_.at + tick : never;
    std::unique_lock lock(mutex_);
    while (!changed_.wait_until(lock, std::min(next, end), [this] { return done_; })) {
      if (steady_clock::now() >= end) {
        // The job may be stuck for good, so no destructor waits for it.
        if (in_place_ && printed_) std::fputs("\r\033[K", stderr);
        _exit(report(options_, job_, results_of(job_, before_, runtime_.stats(), true)));
      }
      print_progress();
      next += tick;
    }
  }

  void print_progress() {
    const gvt::Stats stats = runtime_.stats();
    // A round is a yield or a sleep that timed out. The spawner's own yields are few.
    const u64 all = job_.expected_yields();
    const u64 done = std::min(stats.yields + stats.timeouts, all);
    const double wall_s = std::chrono::duration<double>(steady_clock::now() - before_.at).count();
    std::fprintf(stderr, "%s%.0f s: %llu of %llu threads started, %llu of %llu yields (%.0f %%)%s",
                 in_place_ ? "\r\033[K" : "", wall_s, 0ULL + job_.started.get(),
                 0ULL + job_.gvthreads, 0ULL + done, 0ULL + all,
                 all > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(all) : 100.0,
                 in_place_ ? "" : "\n");
    printed_ = true;
  }

  const Options& options_;
  const gvt::Runtime& runtime_;
  const Job& job_;
  const Usage& before_;
  const bool in_place_ = isatty(STDERR_FILENO) == 1;
  bool printed_ = false;
  bool done_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

void print_head(const Options& o, const gvt::Runtime& runtime) {
  std::printf("gvthread: %llu workers, %llu threads, %llu x ", 0ULL + o.workers.value,
              0ULL + o.gvthreads.value, 0ULL + o.yields.value);
  if (o.sleep_ms.value == 0) {
    std::printf("yield");
  } else {
    std::printf("%llu ms of sleep", 0ULL + o.sleep_ms.value);
  }
  std::printf("; %s queue, %llu slots of %llu KiB, guards by %s\n",
              gvt::queue_kind_name(runtime.config().queue), 0ULL + slots_option(o).value,
              0ULL + o.slot_kb.value, gvt::guard_mode_name(runtime.guards()));
  std::fflush(stdout);
}

// The whole program; throws if the system refuses memory or the watcher's OS thread.
int run(int argc, char** argv) {
  Options options;
  read_environment(options);
  read_flags(options, argc, argv);

  Job job;
  job.gvthreads = options.gvthreads.value;
  job.yields = options.yields.value;
  job.sleep = std::chrono::milliseconds(options.sleep_ms.value);

  gvt::Runtime runtime;
  if (const gvt::Status status = runtime.start(config_of(options)); !status.ok())
    refuse_start(status, options);
  job.handles.resize(slots_option(options).value);
  if (!options.json) print_head(options, runtime);

  const Usage before;
  {
    const Watcher watcher(options, runtime, job, before);
    const auto spawner = runtime.spawn([&job] { spawner_thread(job); }, "spawner");
    const gvt::Error error = spawner.ok() ? runtime.run() : spawner.error();
    if (error != gvt::Error::ok) job.error.store(error, std::memory_order_relaxed);
  }
  return report(options, job, results_of(job, before, runtime.stats(), false));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    refuse(std::string("start: ") + e.what());
  }
}
