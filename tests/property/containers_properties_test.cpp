// SPDX-License-Identifier: MIT
//
// containers_properties_test.cpp - every container of core beside its reference, with generated
// programs (model/containers.hpp), the properties of the bytes that programs come from, and those
// of deadlines.
// RapidCheck prints the seed; a failure prints the shrunk program and its token, which
// fuzz/fz_* --token replays.
//   containers_properties_test [NAME...]   only these properties; --list names them
//   GVT_CASES=N    programs per property;  RC_PARAMS="seed=S max_success=N ..."  RapidCheck's own
#include <rapidcheck.h>

#include <chrono>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "gvthread/gvthread.hpp"
#include "model/containers.hpp"

namespace {

using namespace gvt;
using namespace gvt::model;

// ---- a broken invariant inside of core is a failed property, not the end of the program ----

std::jmp_buf panic_landing;
bool panic_lands = false;
Verdict panic_verdict;

u64 operations = 0;  // run so far, while shrinking too

// core has no destructors that matter on the way (its lock guards belong to a rig that starts
// afresh), so a jump out of it is safe.
template <class Rig>
Verdict run_guarded(Rig& rig, const Program& program) {
  operations += program.count();
  if (setjmp(panic_landing) != 0) {
    panic_lands = false;
    return panic_verdict;
  }
  panic_lands = true;
  const Verdict verdict = run_program(rig, program);
  panic_lands = false;
  return verdict;
}

// ---- generated programs ----

using Setup = std::array<u8, Program::kSetupBytes>;

std::vector<u8> encode(const Setup& setup, const std::vector<Op>& ops) {
  std::vector<u8> bytes(setup.begin(), setup.end());
  for (const Op& op : ops) bytes.insert(bytes.end(), {op.code, op.a, op.b});
  return bytes;
}

// Small numbers are likelier than large ones, and the simplest is 0.
rc::Gen<u8> parameter() {
  return rc::gen::weightedOneOf<u8>({{6, rc::gen::inRange<u8>(0, 8)},
                                     {2, rc::gen::inRange<u8>(0, 64)},
                                     {1, rc::gen::arbitrary<u8>()}});
}

rc::Gen<Op> operation(u8 codes) {
  return rc::gen::map(rc::gen::tuple(rc::gen::inRange<u8>(0, codes), parameter(), parameter()),
                      [](const std::tuple<u8, u8, u8>& t) {
                        return Op{std::get<0>(t), std::get<1>(t), std::get<2>(t)};
                      });
}

template <class Rig>
void container_property() {
  static Rig& rig = *new Rig;
  const auto setup = *rc::gen::container<Setup>(parameter()).as("setup");
  const auto ops =
      *rc::gen::container<std::vector<Op>>(operation(static_cast<u8>(std::size(Rig::kOps))))
           .as("operations");
  const std::vector<u8> bytes = encode(setup, ops);
  const Verdict verdict = run_guarded(rig, Program(bytes));
  if (verdict.ok()) return;
  std::ostringstream report;
  print_verdict(report, Rig::kName, verdict);
  print_program<Rig>(report, Program(bytes));
  RC_FAIL(report.str());
}

// ---- bytes ----

void sections_property() {
  const auto bytes = *rc::gen::arbitrary<std::vector<u8>>();
  const Sections s = split_sections(bytes.data(), bytes.size());
  const usize body = bytes.size() - std::min(bytes.size(), Sections::kHeaderBytes);
  RC_ASSERT(s.program.size() + s.schedule.size() + s.faults.size() == body);
  const std::vector<u8> joined = join_sections(s);
  const Sections again = split_sections(joined.data(), joined.size());
  const auto equal = [](ByteSpan x, ByteSpan y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  RC_ASSERT(equal(s.program, again.program));
  RC_ASSERT(equal(s.schedule, again.schedule));
  RC_ASSERT(equal(s.faults, again.faults));
  operations += bytes.size();
}

void token_property() {
  const auto bytes = *rc::gen::arbitrary<std::vector<u8>>();
  std::string token = encode_token(bytes);
  std::vector<u8> back;
  RC_ASSERT(parse_token(token, back) == kTokenGood);
  RC_ASSERT(back == bytes);
  // One digit missing, then one character that is none: the first bad place is named.
  if (!token.empty()) {
    RC_ASSERT(parse_token(std::string_view(token).substr(1), back) == token.size() - 1);
    RC_ASSERT(back.empty());
  }
  const auto at = *rc::gen::inRange<usize>(0, token.size() + 1);
  const auto bad = *rc::gen::suchThat(rc::gen::arbitrary<char>(), [](char c) {
    return std::string("0123456789abcdefABCDEF").find(c) == std::string::npos;
  });
  token.insert(at, 1, bad);
  RC_ASSERT(parse_token(token, back) == at);
  RC_ASSERT(back.empty());
  operations += bytes.size();
}

// A reader gives the same numbers whatever follows, and 0 past the end.
void reader_property() {
  const auto bytes = *rc::gen::arbitrary<std::vector<u8>>();
  const auto bound = *rc::gen::arbitrary<u32>();
  Bytes reader(bytes.data(), bytes.size());
  while (!reader.empty()) {
    const usize before = reader.left();
    const u32 number = reader.below(bound);
    RC_ASSERT(number < std::max(bound, 1u));
    RC_ASSERT(reader.offset() + reader.left() == bytes.size());
    if (bound <= 1) break;
    RC_ASSERT(reader.left() < before);
  }
  Bytes end;
  RC_ASSERT((end.number64() == 0 && end.below(bound) == 0 && !end.flag() && end.number16() == 0));
}

// ---- deadlines ----

u64 clock_ns = 0;

// So many units from now: never earlier, and what no clock will show is never, not soon. INV-TMR-1
template <class Duration>
void deadline_after(long long count) {
  const Duration from_now(count);
  const __int128 ns =
      __int128{count} * Duration::period::num * std::nano::den / Duration::period::den;
  const __int128 sum = clock_ns + (ns > 0 ? ns : 0);
  RC_ASSERT(Deadline(from_now).ns() == (sum >= __int128{kNever} ? kNever : static_cast<u64>(sum)));
  // Floating-point seconds lose digits, but no order of magnitude.
  const std::chrono::duration<double> seconds(from_now);
  const long double due = static_cast<long double>(seconds.count()) * 1e9L;
  const long double there = static_cast<long double>(clock_ns) + (due > 0 ? due : 0);
  const u64 floating = Deadline(seconds).ns();
  RC_ASSERT(floating >= clock_ns);
  if (there < 0.999L * static_cast<long double>(kNever))
    RC_ASSERT(std::abs(static_cast<long double>(floating) - there) <= 1 + there / 1e15L);
  if (there > 1.001L * static_cast<long double>(kNever)) RC_ASSERT(floating == kNever);
}

void deadline_property() {
  const auto some_number = [] {
    return rc::gen::oneOf(
        rc::gen::inRange<u64>(0, 1000), rc::gen::arbitrary<u64>(),
        rc::gen::map(
            rc::gen::pair(rc::gen::inRange<u32>(0, 64), rc::gen::inRange<u64>(0, 4)),
            [](const std::pair<u32, u64>& p) { return (u64{1} << p.first) + p.second - 2; }));
  };
  clock_ns = std::min(*some_number(), kNever - 1);
  const auto count = static_cast<long long>(*some_number());
  switch (*rc::gen::inRange<u32>(0, 6)) {
    case 0: deadline_after<std::chrono::nanoseconds>(count); break;
    case 1: deadline_after<std::chrono::microseconds>(count); break;
    case 2: deadline_after<std::chrono::milliseconds>(count); break;
    case 3: deadline_after<std::chrono::duration<long long>>(count); break;
    case 4: deadline_after<std::chrono::duration<long long, std::ratio<3600>>>(count); break;
    default: deadline_after<std::chrono::duration<long long, std::ratio<1, 60>>>(count); break;
  }
  ++operations;
}

// ---- error codes ----

// The number of a code is part of the interface, its name is what users read.
void errors_property() {
  static const char* const kNames[] = {
      "ok",        "no_slot",      "stale",         "timed_out",      "cancelled",
      "stopped",   "deadlock",     "wrong_context", "bad_config",     "no_memory",
      "map_limit", "thread_start", "not_started",   "already_started"};
  const auto number = *rc::gen::oneOf(rc::gen::inRange<u8>(0, static_cast<u8>(std::size(kNames))),
                                      rc::gen::arbitrary<u8>());
  const std::string name = error_name(static_cast<Error>(number));
  RC_ASSERT(name == (number < std::size(kNames) ? kNames[number] : "unknown"));
  ++operations;
}

// ---- the list of properties ----

struct Property {
  const char* name;
  const char* sentence;
  void (*run)();
};

const Property kProperties[] = {
    {"list", "the intrusive list is a deque", container_property<ListRig>},
    {"heap", "the sleep heap is a multimap", container_property<HeapRig>},
    {"ring", "every ready queue is a deque per worker and a global one",
     container_property<QueueRig>},
    {"slots", "the slot pool is a set, a generation a counter", container_property<SlotsRig>},
    {"park", "the thread's word is a permit, a wait and a life", container_property<ParkRig>},
    {"config", "the configuration is a table of ranges", container_property<ConfigRig>},
    {"idle", "the idle set is a set and a number", container_property<IdleRig>},
    {"deadline", "so long from now is no earlier, or never", deadline_property},
    {"errors", "each error code has its name", errors_property},
    {"sections", "every byte string splits into sections, and joined sections split again",
     sections_property},
    {"token", "a token is read back; a bad one is refused at the first bad character",
     token_property},
    {"reader", "a reader never runs dry and stays below its bound", reader_property},
};

bool wanted(const Property& property, int argc, char** argv) {
  if (argc < 2) return true;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == property.name) return true;
  }
  return false;
}

bool known(const std::string& name) {
  for (const Property& property : kProperties) {
    if (name == property.name) return true;
  }
  return false;
}

}  // namespace

u64 gvt::now_ns() noexcept { return clock_ns; }

void gvt::panic(const char* invariant, const char* condition, const char* file, int line) noexcept {
  if (!panic_lands) {
    std::fprintf(stderr, "%s broken: %s (%s:%d)\n", invariant, condition, file, line);
    std::abort();
  }
  panic_verdict = {invariant, condition, 0, 0, 1};
  std::longjmp(panic_landing, 1);
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--list") {
      for (const Property& p : kProperties) std::cout << p.name << '\t' << p.sentence << '\n';
      return 0;
    }
    if (!known(argument)) {
      std::cerr << argv[0] << ": no property is called '" << argument << "'; --list names them\n";
      return 2;
    }
  }
  if (const char* cases = std::getenv("GVT_CASES")) {
    char* end = nullptr;
    const long number = std::strtol(cases, &end, 10);
    if (end == cases || *end != '\0' || number < 1 || number > 1'000'000'000) {
      std::cerr << argv[0] << ": GVT_CASES=" << cases << ": must be 1 .. 1000000000\n";
      return 2;
    }
    const char* given = std::getenv("RC_PARAMS");
    const std::string parameters =
        (given == nullptr ? std::string() : std::string(given) + " ") + "max_success=" + cases;
    setenv("RC_PARAMS", parameters.c_str(), 1);
  }
  canary = std::getenv("GVT_CANARY") != nullptr;
  bool good = true;
  for (const Property& property : kProperties) {
    if (!wanted(property, argc, argv)) continue;
    const u64 before = operations;
    const auto start = std::chrono::steady_clock::now();
    good = rc::check(std::string(property.name) + ": " + property.sentence, property.run) && good;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << "property " << property.name << ": " << operations - before << " operations in "
              << took.count() << " s" << std::endl;
  }
  return good ? 0 : 1;
}
