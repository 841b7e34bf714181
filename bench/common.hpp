// SPDX-License-Identifier: MIT
//
// common.hpp - what every benchmark program shares: its flags, the meter, what /proc tells, and the
// lines it prints. One line per metric, so that runs of any runtime can be laid side by side:
//   {"workload":"yield","runtime":"gvthread","workers":1,"threads":1000,"metric":"time",
//    "unit":"ns","value":12.5}
// Exit code 0: done; 1: the run failed, one line on stderr says why; 2: bad flags.
#pragma once

#include <dirent.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

// From any thread: what was printed so far is kept, nothing else is.
[[noreturn, gnu::format(printf, 1, 2)]] inline void fail(const char* format, ...) {
  std::fflush(stdout);
  std::fputs("failed: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  _exit(1);
}

// ---- flags ----

struct Options {
  std::string workload;
  u64 workers = 1;
  u64 threads = 0;  // 0: the workload's own default, here and for ops
  u64 ops = 0;
  u64 sleep_ms = 100;  // storm
  u64 seconds = 10;    // idle
  std::string scheduler;
  bool json = false;

  void default_to(u64 default_threads, u64 default_ops) {
    if (threads == 0) threads = default_threads;
    if (ops == 0) ops = default_ops;
  }
  // Of `ops` in all, what each thread does; at least one.
  u64 rounds() const { return std::max<u64>(1, ops / std::max<u64>(1, threads)); }
};

[[noreturn]] inline void refuse(const char* flag, const char* value) {
  std::fprintf(stderr, "bad flag: %s %s\n", flag, value);
  std::exit(2);
}

inline u64 parse_number(const char* flag, const char* text, u64 min, u64 max) {
  errno = 0;
  char* end = nullptr;
  const u64 n = std::strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || *text == '-' || n < min || n > max) {
    std::fprintf(stderr, "bad flag: %s %s; allowed: %" PRIu64 " to %" PRIu64 "\n", flag, text, min,
                 max);
    std::exit(2);
  }
  return n;
}

inline Options parse_options(int argc, char** argv, const char* workloads) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--json") {
      o.json = true;
      continue;
    }
    if (flag == "--help" || flag == "-h") {
      std::printf(
          "%s --workload NAME [--workers N] [--threads N] [--ops N] [--sleep-ms N]\n"
          "  [--seconds N] [--scheduler NAME] [--json]\nworkloads: %s\n",
          argv[0], workloads);
      std::exit(0);
    }
    if (i + 1 == argc) refuse(argv[i], "(unknown, or its value is missing)");
    const char* value = argv[++i];
    if (flag == "--workload") {
      o.workload = value;
    } else if (flag == "--workers") {
      o.workers = parse_number("--workers", value, 1, 56);
    } else if (flag == "--threads") {
      o.threads = parse_number("--threads", value, 1, 1u << 24);
    } else if (flag == "--ops") {
      o.ops = parse_number("--ops", value, 1, u64{1} << 40);
    } else if (flag == "--sleep-ms") {
      o.sleep_ms = parse_number("--sleep-ms", value, 1, 3600000);
    } else if (flag == "--seconds") {
      o.seconds = parse_number("--seconds", value, 1, 3600);
    } else if (flag == "--scheduler") {
      o.scheduler = value;
    } else {
      refuse(argv[i - 1], "(unknown)");
    }
  }
  if (o.workload.empty()) refuse("--workload", "is missing; see --help");
  return o;
}

// ---- time and /proc ----

inline u64 clock_ns(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_nsec);
}
inline u64 now_ns() { return clock_ns(CLOCK_MONOTONIC); }

inline void os_sleep_ns(u64 ns) {
  timespec t{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  while (nanosleep(&t, &t) != 0) {
  }
}

// A number of /proc/self/status such as "VmRSS:" in bytes, or "voluntary_ctxt_switches:" as it is.
inline u64 status_number(const char* path, const char* key) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  char line[256];
  u64 value = 0;
  const std::size_t key_bytes = std::strlen(key);
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, key, key_bytes) != 0) continue;
    value = std::strtoull(line + key_bytes, nullptr, 10);
    if (std::strstr(line, " kB") != nullptr) value *= 1024;
    break;
  }
  std::fclose(file);
  return value;
}
inline u64 self_bytes(const char* key) { return status_number("/proc/self/status", key); }

// Voluntary context switches of all OS threads but the caller's: how often they went to sleep, and
// so how often they were woken.
inline u64 other_tasks_switches() {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) fail("cannot read /proc/self/task");
  const long self = syscall(SYS_gettid);
  u64 sum = 0;
  while (const dirent* entry = readdir(tasks)) {
    const long id = std::strtol(entry->d_name, nullptr, 10);
    if (id == 0 || id == self) continue;
    const std::string path = std::string("/proc/self/task/") + entry->d_name + "/status";
    sum += status_number(path.c_str(), "voluntary_ctxt_switches:");
  }
  closedir(tasks);
  return sum;
}

// Wall time, CPU time and trips to the kernel's scheduler between start and stop, which may be
// called by different threads: the last to be ready, and the last to be done.
class Meter {
 public:
  void start() { begin_ = Sample::now(); }
  void stop() { end_ = Sample::now(); }

  double wall_ns() const { return static_cast<double>(end_.wall - begin_.wall); }
  double cpu_ns() const { return static_cast<double>(end_.cpu - begin_.cpu); }
  double sleeps() const { return static_cast<double>(end_.sleeps - begin_.sleeps); }

 private:
  struct Sample {
    u64 wall, cpu;
    i64 sleeps;  // of all OS threads, also of those that have ended

    static Sample now() {
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      return {now_ns(), clock_ns(CLOCK_PROCESS_CPUTIME_ID), usage.ru_nvcsw};
    }
  };
  Sample begin_{}, end_{};
};

// ---- results ----

class Report {
 public:
  Report(const Options& options, const char* runtime) : options_(options), runtime_(runtime) {}

  void line(const char* metric, const char* unit, double value) const {
    if (options_.json) {
      std::printf("{\"workload\":\"%s\",\"runtime\":\"%s\",\"workers\":%" PRIu64
                  ",\"threads\":%" PRIu64 ",\"metric\":\"%s\",\"unit\":\"%s\",\"value\":%.9g}\n",
                  options_.workload.c_str(), runtime_, options_.workers, options_.threads, metric,
                  unit, value);
    } else {
      std::printf("%-12s %-10s %2" PRIu64 "w %8" PRIu64 " %-20s %14.6g %s\n",
                  options_.workload.c_str(), runtime_, options_.workers, options_.threads, metric,
                  value, unit);
    }
  }

  // The time of one operation; the CPU time, which says the same of one worker on a machine that
  // others use too; and what tells how many workers took part.
  void per_op(const Meter& meter, u64 ops) const {
    line("time", "ns", meter.wall_ns() / static_cast<double>(ops));
    line("cpu-time", "ns", meter.cpu_ns() / static_cast<double>(ops));
    conditions(meter, ops);
  }
  void conditions(const Meter& meter, u64 ops) const {
    line("cpus", "cpu s/s", meter.wall_ns() > 0 ? meter.cpu_ns() / meter.wall_ns() : 0);
    line("os-sleeps", "per 1000 ops", meter.sleeps() * 1000 / static_cast<double>(ops));
  }

  // What late_ns holds, in ascending order afterwards; below zero is too early.
  void lateness(std::vector<i64>& late_ns) const {
    std::sort(late_ns.begin(), late_ns.end());
    if (late_ns.empty()) fail("no samples");
    const auto early = std::lower_bound(late_ns.begin(), late_ns.end(), 0) - late_ns.begin();
    struct Quantile {
      const char* name;
      double share;
    };
    for (const auto& [name, share] : {Quantile{"p10", .1},
                                      {"p25", .25},
                                      {"p50", .5},
                                      {"p75", .75},
                                      {"p90", .9},
                                      {"p99", .99},
                                      {"p99.9", .999},
                                      {"max", 1}}) {
      const auto last = static_cast<double>(late_ns.size() - 1);
      line(name, "us", static_cast<double>(late_ns[static_cast<std::size_t>(share * last)]) / 1000);
    }
    line("early", "wakes", static_cast<double>(early));
  }

  const Options& options() const { return options_; }

 private:
  const Options& options_;
  const char* runtime_;
};

// ---- small things that several workloads need ----

// splitmix64 (Steele, Lea, Flood, OOPSLA 2014): each state gives one well-mixed number.
struct Random {
  u64 state;
  u64 next() {
    u64 z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  u64 between(u64 low, u64 high) { return low + next() % (high - low + 1); }
};

// About 1 us of work that no compiler removes: a chain of 450 dependent steps, the same for every
// runtime. `work` of the results says how long it really took here.
inline u64 work_1us(u64 seed) {
  u64 x = seed | 1;
  for (int i = 0; i < 450; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

inline double measured_work_ns() {
  constexpr u64 kCalls = 20000;
  u64 x = 1;
  const u64 begin = now_ns();
  for (u64 i = 0; i < kCalls; ++i) x = work_1us(x);
  const u64 end = now_ns();
  if (x == 0) fail("the work yields zero");
  return static_cast<double>(end - begin) / kCalls;
}

}  // namespace bench
