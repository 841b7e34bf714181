// SPDX-License-Identifier: MIT
//
// kernel_properties_test.cpp - the whole kernel in the simulated world beside the specification
// (model/kernel_rig.hpp), with generated programs, schedules and faults; and each step of a
// thread's word beside the specification's, exhaustively. RapidCheck prints the seed; a failure
// prints the shrunk program and its token.
//   kernel_properties_test [NAME...]   only these properties; --list names them
//   kernel_properties_test --token T   one program, told step by step; --file F: a raw input
//   GVT_CASES=N    programs per property (default 10 000, with a sanitizer fewer)
//   RC_PARAMS="seed=S max_success=N ..."   RapidCheck's own
#include <rapidcheck.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>

#include "model/kernel_rig.hpp"
#include "model/rig.hpp"
#include "tests/support/build.hpp"

namespace gvt::sim {
// How RapidCheck prints a counterexample.
void showValue(const Program& program, std::ostream& out) { out << describe(program); }
}  // namespace gvt::sim

namespace {

using namespace gvt;
using namespace gvt::sim;

// What takes about ten seconds in each kind of build.
constexpr u32 kCases = test::kTsan ? 1000 : test::kAsan ? 2000 : 10'000;

u64 operations = 0;  // run so far, while shrinking too

// ---- generated programs ----

template <class T>
rc::Gen<T> below(u32 bound) {
  return rc::gen::map(rc::gen::inRange<u32>(0, bound), [](u32 v) { return static_cast<T>(v); });
}

// Whatever an input may hold, the likelier the more it leads to.
rc::Gen<Op> some_op() {
  const auto code = rc::gen::weightedOneOf<OpCode>(
      {{2, rc::gen::just(OpCode::spawn)}, {5, below<OpCode>(kOpCodes)}});
  const auto arg =
      rc::gen::weightedOneOf<u8>({{6, below<u8>(16)}, {3, below<u8>(192)}, {1, below<u8>(256)}});
  return rc::gen::build<Op>(rc::gen::set(&Op::script, below<u8>(kScripts)),
                            rc::gen::set(&Op::code, code), rc::gen::set(&Op::arg, arg));
}

rc::Gen<Shape> some_shape(u32 workers, u32 foreign) {
  const auto flag = [] { return below<bool>(2); };
  const auto capacity = rc::gen::weightedOneOf<u8>({{40, below<u8>(7)}, {1, rc::gen::just<u8>(7)}});
  return rc::gen::build<Shape>(
      rc::gen::set(&Shape::workers, rc::gen::map(rc::gen::inRange<u32>(1, workers + 1),
                                                 [](u32 v) { return static_cast<u8>(v); })),
      rc::gen::set(&Shape::queue, below<QueueChoice>(kQueueChoices)),
      rc::gen::set(&Shape::foreign, below<u8>(foreign + 1)),
      rc::gen::set(&Shape::until_drained, flag()), rc::gen::set(&Shape::capacity, capacity),
      rc::gen::set(&Shape::repeat_schedule, flag()), rc::gen::set(&Shape::last_generation, flag()),
      rc::gen::set(&Shape::simple, flag()), rc::gen::set(&Shape::warm, below<u8>(4)));
}

using Bytes = std::vector<u8>;

rc::Gen<Bytes> some_bytes() { return rc::gen::container<Bytes>(below<u8>(256)); }
rc::Gen<Bytes> no_bytes() { return rc::gen::just(Bytes{}); }
// Most opportunities of a fault are not taken.
rc::Gen<Bytes> some_faults() {
  return rc::gen::container<Bytes>(
      rc::gen::weightedOneOf<u8>({{1, rc::gen::just<u8>(0)}, {1, below<u8>(256)}}));
}

rc::Gen<Program> some_program(u32 workers, u32 foreign, rc::Gen<Bytes> schedule,
                              rc::Gen<Bytes> faults) {
  const auto ops = rc::gen::scale(1.0, rc::gen::container<std::vector<Op>>(some_op()));
  return rc::gen::build<Program>(rc::gen::set(&Program::shape, some_shape(workers, foreign)),
                                 rc::gen::set(&Program::ops, ops),
                                 rc::gen::set(&Program::schedule, std::move(schedule)),
                                 rc::gen::set(&Program::faults, std::move(faults)));
}

void hold(const Program& program) {
  const RunResult result = run(program);
  operations += result.operations;
  if (!result.ok()) RC_FAIL(report(program, result));
}

// ---- properties ----

void kernel_serial() { hold(*some_program(1, 0, no_bytes(), no_bytes())); }
void kernel_schedule() { hold(*some_program(3, 2, some_bytes(), no_bytes())); }
// No worker sleeps while a thread waits behind a blocked one.
void kernel_work_conserving() {
  work_conserving = true;
  const Program program = *some_program(3, 2, some_bytes(), no_bytes());
  const RunResult result = run(program);
  work_conserving = false;
  operations += result.operations;
  if (!result.ok()) RC_FAIL(report(program, result));
}
void kernel_faults() { hold(*some_program(3, 2, some_bytes(), some_faults())); }

// A failure replays bit for bit from its token.
void kernel_determinism() {
  const Program program = *some_program(3, 2, some_bytes(), some_faults());
  const RunResult first = run(program);
  std::vector<u8> bytes;
  RC_ASSERT(model::parse_token(model::encode_token(encode(program)), bytes) == model::kTokenGood);
  Program again;
  decode(bytes.data(), bytes.size(), again);
  RC_ASSERT(again.ops == program.ops && again.shape == program.shape);
  const RunResult second = run(again);
  operations += first.operations + second.operations;
  RC_ASSERT(first.trace == second.trace);
  RC_ASSERT(first.steps == second.steps);
  RC_ASSERT(first.operations == second.operations);
}

// Every byte string is a legal program.
void kernel_bytes() {
  const Bytes bytes = *some_bytes();
  Program program;
  decode(bytes.data(), bytes.size(), program);
  const Bytes canonical = encode(program);
  Program again;
  decode(canonical.data(), canonical.size(), again);
  RC_ASSERT(again == program);
  RC_ASSERT(encode(again) == canonical);
  hold(program);
}

// ---- the steps of a word, all of them ----

struct NamedStep {
  const char* name;
  core::Step (*real)(core::ParkWord);
  spec::Next (*specified)(const spec::Thread&);
};

template <core::WaitKind kKind>
core::Step prepare(core::ParkWord w) {
  return core::step_prepare(w, kKind);
}
template <spec::Wait kWait>
spec::Next begin(const spec::Thread& t) {
  return spec::begin_wait(t, kWait);
}

constexpr NamedStep kSteps[] = {
    {"spawn", core::step_spawn, spec::spawn},
    {"exit", core::step_exit, spec::exit},
    {"park", prepare<core::WaitKind::park>, begin<spec::Wait::park>},
    {"wait", prepare<core::WaitKind::object>, begin<spec::Wait::object>},
    {"wait for what is owed", prepare<core::WaitKind::uncancelled>, begin<spec::Wait::owed>},
    {"commit", core::step_commit, [](const spec::Thread& t) { return spec::commit(t); }},
    {"unpark", core::step_unpark, [](const spec::Thread& t) { return spec::unpark(t); }},
    {"wake", core::step_wake, [](const spec::Thread& t) { return spec::wake(t); }},
    {"time-out", core::step_timeout, [](const spec::Thread& t) { return spec::timeout(t); }},
    {"cancel", core::step_cancel, [](const spec::Thread& t) { return spec::cancel(t); }},
    {"give up", [](core::ParkWord w) { return core::step_abort(w, core::Ended::cancel); },
     [](const spec::Thread& t) { return spec::give_up(t); }},
};

// From every legal word, each step that the specification allows leads where it says, and the
// thread is enqueued exactly if its stack is quiet and it was not ready before. INV-PARK-1,
// INV-WAKE-1, INV-WAIT-1, INV-SLOT-1.
void word_steps() {
  u32 taken = 0;
  for (const u64 generation : {u64{0}, u64{1}, u64{2}, u64{0x7fff'ffff}, u64{0xffff'ffff}}) {
    for (u64 low = 0; low < 1024; ++low) {
      const core::ParkWord word{generation << 32 | low};
      spec::Thread t = abstract(word.raw);
      if (!matches(t, word.raw)) continue;
      const bool flags = (low & ~u64{core::ParkWord::kPhaseMask}) != 0;
      if (t.state == spec::State::free && flags) continue;  // no such word
      if (generation == 0 && low != 0) continue;
      if (!t.waits() && (low & 0x30) != 0) continue;
      if (t.waits() && ((low & 0xc) != 0 || (low & 0x30) == 0x10)) continue;
      for (const spec::State state : {t.state, spec::State::running}) {
        if (state == spec::State::running && t.state != spec::State::ready) continue;
        for (const bool on_stack : {false, true}) {
          if (on_stack && state != spec::State::ready) continue;
          spec::Thread from = t;
          from.state = state;
          from.on_stack = on_stack;
          for (const NamedStep& step : kSteps) {
            const spec::Next next = step.specified(from);
            if (!next) continue;
            const core::Step real = step.real(word);
            ++taken;
            if (!matches(*next, real.next.raw)) {
              std::ostringstream text;
              text << step.name << " of " << std::hex << word.raw << " gives " << real.next.raw;
              RC_FAIL(text.str());
            }
            const bool was_queued = from.state == spec::State::ready && !from.on_stack;
            const bool is_queued = next->state == spec::State::ready && !next->on_stack;
            const bool expected = is_queued && !was_queued && step.specified != &spec::spawn;
            if (real.enqueue != expected)
              RC_FAIL(std::string(step.name) + ": wrong about the queue");
          }
        }
      }
    }
  }
  operations += taken;
  RC_ASSERT(taken > 1000u);
}

// ---- a corrupt image ----

using AuditRig = KernelRig<SimParts<HighRing<4>, 4>>;

// audit() of a runtime held still, with some bits of its image flipped, ends, and finds a field
// that has only one right value.
void audit_corrupt() {
  Program program = *some_program(2, 1, some_bytes(), no_bytes());
  program.shape.queue = QueueChoice::ring_4;
  AuditRig& rig = AuditRig::instance();
  RC_PRE(rig.run_until_quiet(program));
  operations += static_cast<u64>(program.ops.size());
  u8 scratch[128];
  RC_ASSERT(rig.auditor().full(scratch).ok());
  const u64 at = *rc::gen::inRange<u64>(0, rig.image_bytes());
  const u8 flip = *below<u8>(255);
  rig.image()[at] ^= static_cast<std::byte>(flip + 1);
  (void)rig.auditor().full(scratch);  // finds or not, but comes back
  rig.image()[at] ^= static_cast<std::byte>(flip + 1);
  RC_ASSERT(rig.auditor().full(scratch).ok());
  auto* object = reinterpret_cast<std::byte*>(&rig.kernel());
  const u64 field = *rc::gen::inRange<u64>(0, sizeof(AuditRig::Kernel));
  object[field] ^= static_cast<std::byte>(flip + 1);
  (void)rig.auditor().full(scratch);
  object[field] ^= static_cast<std::byte>(flip + 1);
  RC_ASSERT(rig.auditor().full(scratch).ok());
  // The identity of a control block, wherever it is used.
  if (rig.memory().admitted() > 0) {
    const u32 id = *rc::gen::inRange<u32>(0, rig.memory().admitted());
    auto& thread = const_cast<Green&>(rig.auditor().threads()[id]);
    if (thread.word.plain() != 0) {
      thread.id ^= flip + 1u;
      RC_ASSERT(!rig.auditor().full(scratch).ok());
      u32 cursor = id;
      RC_ASSERT(!rig.auditor().step(cursor).ok());
      thread.id ^= flip + 1u;
      thread.queued = !thread.queued;
      const core::Finding finding = rig.auditor().full(scratch);
      thread.queued = !thread.queued;
      RC_ASSERT(!finding.ok());
      RC_ASSERT(finding.witness == id);
    }
  }
}

// Every single bit and every two neighbours of the image and of the kernel object, at the first
// moments of a few runtimes in which threads are queued, asleep, parked, joined and over: a look at
// each comes back, and what it finds has a name.
template <class Rig>
struct EveryBit {
  static inline u32 looks = 0;
  static inline u64 flips = 0;
  static inline u64 found = 0;
  static inline bool nameless = false;

  static void flip_all(Rig& rig, std::byte* bytes, u64 count) {
    u8 scratch[128];
    for (u64 i = 0; i < 16 * count; ++i) {
      const auto bit = static_cast<std::byte>((i % 2 == 0 ? 1 : 3) << i / 2 % 8);
      std::byte& byte = bytes[i / 16];
      byte ^= bit;
      const core::Finding finding = rig.auditor().full(scratch);
      u32 cursor = static_cast<u32>(i);
      (void)rig.auditor().step(cursor);
      byte ^= bit;
      ++flips;
      found += finding.ok() ? 0 : 1;
      nameless = nameless || (!finding.ok() && finding.invariant == nullptr);
    }
  }
  static void look(Rig& rig, u32) {
    if (++looks > 12) return;
    flip_all(rig, rig.image(), rig.image_bytes());
    flip_all(rig, reinterpret_cast<std::byte*>(&rig.kernel()), sizeof(typename Rig::Kernel));
    for (u32 id = 0; id < rig.config().max_threads; ++id) {
      auto& thread = const_cast<Green&>(rig.auditor().threads()[id]);
      if (core::ParkWord{thread.word.plain()}.phase() == core::Phase::free || thread.queued)
        continue;
      u8 scratch[128];
      const u32 stack = std::exchange(thread.stack, Green::kNoStack);
      const core::Finding finding = rig.auditor().full(scratch);
      thread.stack = stack;
      nameless = nameless || finding.ok();  // parked or running without a stack
    }
  }
  static void run(QueueChoice queue, u8 workers) {
    Program program;
    program.shape.workers = workers;
    program.shape.capacity = 5;
    program.shape.warm = 1;
    program.shape.queue = queue;
    const auto add = [&](u8 script, OpCode code, u8 arg) {
      program.ops.push_back({script, code, arg});
    };
    // One worker is blocked, so that the other one's operations are at no time half done.
    for (const u8 arg : std::array<u8, 4>{0, 1, 2, 1}) add(0, OpCode::spawn, arg);
    for (const u8 arg : std::array<u8, 4>{0, 1, 2, 3}) add(0, OpCode::yield, arg);
    add(0, OpCode::sleep, 6);
    add(0, OpCode::join, 1);
    add(1, OpCode::block, 9);
    add(2, OpCode::yield, 1);
    add(2, OpCode::sleep, 7);
    add(2, OpCode::join, 0);
    add(3, OpCode::yield, 0);
    add(3, OpCode::park_until, 8);
    Rig& rig = Rig::instance();
    looks = 0;
    flips = found = 0;
    rig.at_comparison = look;
    const RunResult result = rig.run(program);
    rig.at_comparison = nullptr;
    if (!result.ok()) RC_FAIL(report(program, result));
    RC_ASSERT(looks > 1u);
    RC_ASSERT(!nameless);
    operations += flips;
    // The rest has many right values: contexts, callables, names, deadlines, generations, counts of
    // what has happened.
    std::cout << "  " << kQueueNames[static_cast<u32>(queue)] << ": " << found << " of " << flips
              << " flips are found, " << looks << " looks" << std::endl;
    RC_ASSERT(found > flips / 10);
  }
};

void audit_every_bit() {
  for (const u8 workers : std::array<u8, 2>{2, 3}) {
    EveryBit<AuditRig>::run(QueueChoice::ring_4, workers);
    EveryBit<KernelRig<SimParts<core::SimpleReadyQueue<Port, Green, 4>, 4>>>::run(
        QueueChoice::simple_4, workers);
  }
}

// ---- the program ----

struct Property {
  const char* name;
  const char* sentence;
  void (*run)();
  bool once = false;
};

constexpr Property kProperties[] = {
    {"word_steps", "each step of a thread's word is the specification's", word_steps, true},
    {"kernel_serial", "one worker: results, states and the order of running are specified",
     kernel_serial},
    {"kernel_schedule", "under any schedule of workers and foreign threads nothing differs",
     kernel_schedule},
    {"kernel_faults", "nor under early and late waits, a frozen clock and refused guards",
     kernel_faults},
    {"kernel_work_conserving", "no worker sleeps while a thread waits behind a blocked worker",
     kernel_work_conserving},
    {"kernel_determinism", "a program replays bit for bit from its token", kernel_determinism},
    {"kernel_bytes", "every byte string is a legal program", kernel_bytes},
    {"audit_corrupt", "a look at a corrupt runtime ends, and names what is broken", audit_corrupt},
    {"audit_every_bit", "whichever bit is flipped", audit_every_bit, true},
};

int replay(const Bytes& bytes) {
  Program program;
  decode(bytes.data(), bytes.size(), program);
  narration = stdout;
  // As fz_sched and kernel_work_conserving ask, whose tokens hold no faults.
  work_conserving = program.faults.empty();
  const RunResult result = run(program);
  std::fputs(report(program, result).c_str(), stdout);
  std::printf("  trace %016llx, %u operations, %llu steps, %u comparisons: %s\n",
              static_cast<unsigned long long>(result.trace), result.operations,
              static_cast<unsigned long long>(result.steps), result.comparisons,
              result.ok() ? "holds" : "FAILS");
  return result.ok() ? 0 : 1;
}

int replay_argument(const std::string& option, const std::string& value) {
  Bytes bytes;
  if (option == "--token") {
    const usize bad = model::parse_token(value, bytes);
    if (bad != model::kTokenGood) {
      std::cerr << "--token: offset " << bad << ": not two hexadecimal digits\n";
      return 2;
    }
    return replay(bytes);
  }
  std::ifstream file(value, std::ios::binary);
  if (!file) {
    std::cerr << value << ": not a readable file\n";
    return 2;
  }
  bytes.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return replay(bytes);
}

void set_parameter(const std::string& text) {
  const char* given = std::getenv("RC_PARAMS");
  setenv("RC_PARAMS",
         ((given == nullptr ? std::string() : std::string(given) + " ") + text).c_str(), 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && (argv[1] == std::string("--token") || argv[1] == std::string("--file")))
    return replay_argument(argv[1], argv[2]);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    bool known = argument == "--list";
    for (const Property& p : kProperties) {
      known = known || argument == p.name;
      if (argument == "--list") std::cout << p.name << '\t' << p.sentence << '\n';
    }
    if (argument == "--list") return 0;
    if (!known) {
      std::cerr << argv[0] << ": no property is called '" << argument << "'; --list names them\n";
      return 2;
    }
  }
  const char* cases = std::getenv("GVT_CASES");
  if (cases != nullptr) {
    char* end = nullptr;
    const long number = std::strtol(cases, &end, 10);
    if (end == cases || *end != '\0' || number < 1 || number > 1'000'000'000) {
      std::cerr << argv[0] << ": GVT_CASES=" << cases << ": must be 1 .. 1000000000\n";
      return 2;
    }
    set_parameter(std::string("max_success=") + cases);
  } else if (std::getenv("RC_PARAMS") == nullptr) {
    set_parameter("max_success=" + std::to_string(kCases));
  }
  canary = std::getenv("GVT_CANARY") != nullptr;
  bool good = true;
  for (const Property& property : kProperties) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || argv[i] == std::string(property.name);
    if (!wanted) continue;
    const u64 before = operations;
    const auto start = std::chrono::steady_clock::now();
    const std::string text = std::string(property.name) + ": " + property.sentence;
    if (property.once) {
      bool done = false;
      good = rc::check(text,
                       [&] {
                         if (!std::exchange(done, true)) property.run();
                       }) &&
             good;
    } else {
      good = rc::check(text, property.run) && good;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::cout << "property " << property.name << ": " << operations - before << " operations in "
              << took.count() << " s" << std::endl;
  }
  return good ? 0 : 1;
}
