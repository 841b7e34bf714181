// SPDX-License-Identifier: MIT
//
// playground_options.hpp - the playground's options: from the environment, then from flags; every
// bad value ends the program with one line on stderr and exit code 2.
// Tests: tests/cli/playground_test.sh.
#pragma once

#include <gvthread/gvthread.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace playground {

using gvt::u32;
using gvt::u64;

inline constexpr u64 kMaxThreads = gvt::kMaxThreads - 1;  // the spawner needs a slot too

// A number that can be set, by a variable and by a flag of the same name.
struct Number {
  const char* flag;
  const char* variable;
  const char* help;
  u64 min;
  u64 max;
  u64 value;
  bool power_of_two = false;
  std::string source = "default";  // "flag --workers", "environment variable GVT_WORKERS"
};

// A choice between names.
struct Choice {
  const char* flag;
  const char* variable;
  const char* help;
  std::vector<const char*> names;  // in the order of the enumeration
  u32 value;
  std::string source = "default";
};

inline u64 cpus() {
  return std::clamp<u64>(std::thread::hardware_concurrency(), 1, gvt::kMaxWorkers);
}

struct Options {
  Number workers{"workers", "GVT_WORKERS",    "OS threads that run green threads",
                 1,         gvt::kMaxWorkers, cpus()};
  Number gvthreads{"gvthreads", "GVT_GVTHREADS", "green threads to spawn", 1, kMaxThreads, 1000};
  Number yields{"yields", "GVT_YIELDS", "rounds of each thread", 0, ~u32{0}, 100};
  Number sleep_ms{"sleep-ms", "GVT_SLEEP_MS", "sleep of each round in ms, 0 for a yield",
                  0,          3'600'000,      10};
  Number slot_kb{"slot-kb",
                 "GVT_SLOT_KB",
                 "address space of a stack, in KiB",
                 gvt::kMinSlotBytes / 1024,
                 gvt::kMaxSlotBytes / 1024,
                 gvt::Config{}.slot_bytes / 1024,
                 true};
  Number slots{"slots", "GVT_SLOTS", "threads alive at once, as many as gvthreads if not given",
               1,       kMaxThreads, 0};
  Number timeout_s{"timeout-s", "GVT_TIMEOUT_S", "give up after as many seconds, 0 for never",
                   0,           86'400,          0};
  Choice queue{"queue",
               "GVT_QUEUE",
               "ready queue",
               {"simple", "lock_free"},
               static_cast<u32>(gvt::Config{}.queue)};
  Choice guards{"guards",
                "GVT_GUARDS",
                "how guard pages are made",
                {"automatic", "madvise", "mprotect", "none"},
                static_cast<u32>(gvt::Config{}.guards)};
  bool json = false;
  bool quiet = false;

  std::vector<Number*> numbers() {
    return {&workers, &gvthreads, &yields, &sleep_ms, &slot_kb, &slots, &timeout_s};
  }
  std::vector<Choice*> choices() { return {&queue, &guards}; }
};

inline constexpr int kExitMissing = 1;
inline constexpr int kExitBadInput = 2;

// The one line about bad input, and the end: nothing has been started yet.
[[noreturn]] inline void refuse(const std::string& what) {
  std::fprintf(stderr, "playground: %s\n", what.c_str());
  std::exit(kExitBadInput);
}

// A value as it can stand in one line.
inline std::string quoted(std::string_view value) {
  constexpr std::size_t kShown = 60;
  std::string text = "'";
  for (const char c : value.substr(0, kShown)) text += c >= ' ' && c < 127 ? c : '?';
  if (value.size() > kShown) text += "...";
  return text + "'";
}

inline std::string range_of(const Number& n) {
  return std::to_string(n.min) + " to " + std::to_string(n.max) +
         (n.power_of_two ? ", a power of two" : "");
}

inline std::string names_of(const Choice& c) {
  std::string text;
  for (const char* name : c.names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

inline void set(Number& n, std::string_view value, const std::string& source) {
  const auto bad = [&](const char* what) {
    refuse(source + ": " + quoted(value) + " " + what + "; allowed: " + range_of(n));
  };
  if (value.empty()) bad("is empty");
  u64 number = 0;
  bool overflow = false;
  for (const char c : value) {
    if (c < '0' || c > '9') bad("is not a whole number without sign");
    const u64 digit = static_cast<u64>(c - '0');
    overflow = overflow || number > (~u64{0} - digit) / 10;
    number = number * 10 + digit;
  }
  if (overflow || number < n.min || number > n.max) bad("is out of range");
  if (n.power_of_two && (number & (number - 1)) != 0) bad("is not a power of two");
  n.value = number;
  n.source = source;
}

inline void set(Choice& c, std::string_view value, const std::string& source) {
  for (u32 i = 0; i < c.names.size(); ++i) {
    if (value == c.names[i]) {
      c.value = i;
      c.source = source;
      return;
    }
  }
  refuse(source + ": " + quoted(value) + " is unknown; allowed: " + names_of(c));
}

inline void help() {
  Options options;
  std::printf(
      "Usage: playground [flags]\n"
      "Spawns green threads that each sleep or yield a number of times, and checks that all did.\n"
      "A flag (--name N or --name=N) wins over its variable.\n\n");
  const auto line = [](const auto& option, const std::string& allowed, const std::string& value) {
    std::printf("  --%-10s %-14s %s [%s]%s%s\n", option.flag, option.variable, option.help,
                allowed.c_str(), value.empty() ? "" : ", default ", value.c_str());
  };
  for (const Number* n : options.numbers())
    line(*n, range_of(*n), n == &options.slots ? "" : std::to_string(n->value));
  for (const Choice* c : options.choices()) line(*c, names_of(*c), c->names[c->value]);
  std::printf(
      "  --json                    print the results as one JSON object, and no progress\n"
      "  --quiet                   no progress line\n"
      "  --help                    this text\n\n"
      "Exit code: 0 all done, 1 something is missing, 2 bad input.\n");
}

[[noreturn]] inline void refuse_argument(Options& options, std::string_view argument) {
  std::string allowed;
  for (const Number* n : options.numbers()) allowed += std::string(" --") + n->flag;
  for (const Choice* c : options.choices()) allowed += std::string(" --") + c->flag;
  const bool is_flag = argument.substr(0, 1) == "-";
  refuse((is_flag ? "unknown flag " : "unexpected argument ") + quoted(argument) +
         "; allowed:" + allowed + " --json --quiet --help");
}

inline void read_environment(Options& options) {
  const auto read = [](auto& option) {
    const char* value = std::getenv(option.variable);
    if (value != nullptr)
      set(option, value, std::string("environment variable ") + option.variable);
  };
  for (Number* n : options.numbers()) read(*n);
  for (Choice* c : options.choices()) read(*c);
}

// True if argv[i] is the option's flag; then it is set, and i has moved over its value.
template <class Option>
bool take_flag(Option& option, const std::string& allowed, int argc, char** argv, int& i) {
  const std::string flag = std::string("--") + option.flag;
  const std::string source = "flag " + flag;
  const std::string_view argument = argv[i];
  if (argument.substr(0, argument.find('=')) != flag) return false;
  if (argument.size() > flag.size()) {
    set(option, argument.substr(flag.size() + 1), source);
  } else if (++i < argc) {
    set(option, argv[i], source);
  } else {
    refuse(source + ": the value is missing; allowed: " + allowed);
  }
  return true;
}

inline void read_flags(Options& options, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      help();
      std::exit(0);
    }
    if (argument == "--json") {
      options.json = true;
      continue;
    }
    if (argument == "--quiet") {
      options.quiet = true;
      continue;
    }
    bool taken = false;
    for (Number* n : options.numbers()) taken = taken || take_flag(*n, range_of(*n), argc, argv, i);
    for (Choice* c : options.choices()) taken = taken || take_flag(*c, names_of(*c), argc, argv, i);
    if (!taken) refuse_argument(options, argument);
  }
}

// The number that decides how many slots there are.
inline const Number& slots_option(const Options& options) {
  return options.slots.value != 0 ? options.slots : options.gvthreads;
}

inline gvt::Config config_of(const Options& options) {
  gvt::Config config;
  config.workers = static_cast<u32>(options.workers.value);
  config.max_threads = static_cast<u32>(slots_option(options).value) + 1;  // and the spawner
  config.slot_bytes = options.slot_kb.value * 1024;
  config.queue = static_cast<gvt::QueueKind>(options.queue.value);
  config.guards = static_cast<gvt::GuardMode>(options.guards.value);
  return config;
}

// Errors of start() in the terms of the options; the limits are less the spawner.
[[noreturn]] inline void refuse_start(const gvt::Status& status, const Options& options) {
  const Number& slots = slots_option(options);
  const auto too_many = [&](const char* why, u64 limit) {
    refuse(slots.source + ": '" + std::to_string(slots.value) + "' " + why + "; allowed: 1 to " +
           std::to_string(limit == 0 ? 0 : limit - 1));
  };
  const std::string_view field = status.field.field != nullptr ? status.field.field : "";
  if (status.error == gvt::Error::bad_config && field == "max_threads") {
    const std::string why = "slots of " + std::to_string(options.slot_kb.value) +
                            " KiB take more than 64 TiB of address space";
    too_many(why.c_str(), status.field.max);
  }
  if (status.error == gvt::Error::map_limit && status.limit != 0) {
    too_many("threads need more guard pages than this kernel maps (vm.max_map_count)",
             status.limit);
  }
  if (status.error == gvt::Error::map_limit && field == "guards")
    refuse(options.guards.source + ": 'madvise' needs Linux 6.13; allowed: " + status.field.rule);
  if (status.error == gvt::Error::no_memory) {
    refuse(slots.source + ": '" + std::to_string(slots.value) + "' slots of " +
           std::to_string(options.slot_kb.value) +
           " KiB take more address space than the system gives (" + std::strerror(status.os_errno) +
           "); allowed: fewer, or a smaller --slot-kb");
  }
  char line[320];
  status.message(line, sizeof line, "start");
  refuse(line);
}

}  // namespace playground
