// SPDX-License-Identifier: MIT
//
// kernel_rig.hpp - one kernel in the simulated world, and the specification beside it. The link is
// the thread's word: each change of a word must be a step that the specification allows for whoever
// takes it, at that moment; so every interleaving is checked at the step itself, not guessed
// afterwards. Results are checked when an operation returns, and whenever no other operation is
// half done the abstraction function maps queues, heaps and pools to the specification's state and
// compares. Nothing here throws, and what fails is recorded and leaves the world at once: no
// exception ever unwinds a green stack. May include core/, model/ and the hosted library.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>

// g++ 12 does not see that at most as many threads come out of a queue as were asked for.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "core/audit.hpp"
#include "core/selected_ready_queue.hpp"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#include "model/coverage.hpp"
#include "model/rig.hpp"
#include "model/spec.hpp"

namespace gvt::sim {

GVT_MODEL_BEGIN

using model::really;
using Green = core::Thread<Port>;

// The ring with its indexes just below the wrap.
template <u32 kCapacity>
struct HighRing : core::LockFreeReadyQueue<Port, Green, kCapacity> {
  void init(void* memory, u32 workers, u32 max_threads, QueueKind kind) noexcept {
    core::LockFreeReadyQueue<Port, Green, kCapacity>::init(memory, workers, max_threads, kind,
                                                           ~u32{0} - 1);
  }
};

template <class Q, u32 kLocal>
struct SimParts {
  using Port = sim::Port;
  using Queue = Q;
  using Memory = sim::Memory;
  static constexpr u32 kLocalCapacity = kLocal;
};

// ---- abstraction of one word ----

inline spec::Thread abstract(u64 raw) noexcept {
  const core::ParkWord w{raw};
  spec::Thread t;
  t.generation = w.generation();
  switch (w.phase()) {
    case core::Phase::free: t.state = spec::State::free; break;
    case core::Phase::active: t.state = spec::State::ready; break;  // or running
    case core::Phase::parking: t.state = spec::State::parking; break;
    case core::Phase::parked: t.state = spec::State::parked; break;
  }
  t.permit = w.has(core::ParkWord::kPermit);
  t.owed = w.has(core::ParkWord::kWoken);
  t.cancelled = w.has(core::ParkWord::kCancelled);
  t.joined = w.has(core::ParkWord::kJoined);
  if (w.waiting()) {
    t.wait = w.has(core::ParkWord::kEndsOnPermit)   ? spec::Wait::park
             : w.has(core::ParkWord::kEndsOnCancel) ? spec::Wait::object
                                                    : spec::Wait::owed;
  }
  t.why = static_cast<spec::Why>(w.ended());
  return t;
}

inline bool matches(spec::Thread t, u64 raw) noexcept {
  if (t.state == spec::State::running) t.state = spec::State::ready;
  t.on_stack = false;
  return t == abstract(raw);
}

template <class Parts>
class KernelRig {
 public:
  using Kernel = core::Scheduler<Parts>;
  using Auditor = core::Auditor<Parts>;

  RunResult run(const Program& program) {
    start(program);
    if (world.run() == World::Outcome::quiet) after_quiet();
    RunResult result;
    result.failure = world.failure();
    result.trace = world.trace();
    result.steps = world.steps();
    result.switches = world.switches();
    result.operations = operations_;
    result.comparisons = comparisons_;
    result.spawned = static_cast<u32>(spec_.spawned);
    result.complete = !cut_;
    return result;
  }

  // For fz_audit: stops where nothing moves any more, before the runtime is stopped. False when the
  // run has failed.
  bool run_until_quiet(const Program& program) {
    start(program);
    return world.run() == World::Outcome::quiet;
  }

  // For fz_audit: called with the number of each comparison, when nothing is half done.
  void (*at_comparison)(KernelRig& rig, u32 number) = nullptr;

  Kernel& kernel() noexcept { return *std::launder(reinterpret_cast<Kernel*>(kernel_)); }
  const Config& config() const noexcept { return config_; }
  std::byte* image() noexcept { return image_; }
  u64 image_bytes() const noexcept { return Kernel::required_bytes(config_); }
  Memory& memory() noexcept { return memory_; }
  const spec::Spec& specification() const noexcept { return spec_; }
  const Auditor& auditor() const noexcept { return *audit_; }

  static KernelRig& instance() {
    static KernelRig rig;
    return rig;
  }

 private:
  static constexpr u32 kMaxThreads = 96;
  static constexpr u32 kNobody = spec::Spec::kNobody;

  // A green thread, by its slot, or a foreign OS thread: what it does at the moment.
  struct Actor {
    u32 id = kNobody;  // of the slot; kNobody: foreign
    u8 script = 0;
    u32 op = 0;  // index in the script
    Handle handle;
    bool busy = false;  // inside an operation
    OpCode code = OpCode::end;
    Handle target;
    u64 deadline_ns = kNever;
    bool taken = false;          // the operation's step on its target has been seen
    bool target_lived = false;   // when the operation began
    bool target_known = false;   // likewise
    bool may_find_none = false;  // all slots were in use at some moment of the operation
    u32 left_on = kNobody;       // the OS thread on which it began its wait
    bool reserving = false;
    bool may_have_given_up = false;
    char name[40] = "";
  };

  struct Payload {
    KernelRig* rig;
    u64 serial;
    u8 script;
    char name[8];
  };
  static_assert(sizeof(Payload) <= core::kInlineCallableBytes);

  // ---- life of a run ----

  void start(const Program& program) {
    const Shape& s = program.shape;
    program_ = &program;
    for (auto& script : scripts_) script.clear();
    for (const Op& op : program.ops) scripts_[op.script].push_back(op);
    config_ = Config{};
    config_.workers = s.workers;
    config_.max_threads = capacity_of(s.capacity, s.queue);
    config_.queue = s.simple ? QueueKind::simple : QueueKind::lock_free;
    config_.warm_stacks = kWarmStacks[s.warm];
    large_ = config_.max_threads > 8;
    if (image_ == nullptr) {
      Config largest = config_;
      largest.workers = 3;
      largest.max_threads = kMaxThreads;
      image_ = static_cast<std::byte*>(
          std::aligned_alloc(64, (Kernel::required_bytes(largest) + 63) & ~u64{63}));
    }
    std::memset(static_cast<void*>(image_), 0, image_bytes());
    memory_.reset(config_.max_threads);
    new (kernel_) Kernel;

    const bool keep_fifo =
        s.workers == 1 && s.foreign == 0 && config_.max_threads <= Parts::kLocalCapacity;
    spec_.reset(config_.max_threads, keep_fifo, kStart);
    issued_.clear();
    invoked_.clear();
    for (Actor& actor : actors_) actor = Actor{};
    std::memset(reserved_, 0, sizeof reserved_);
    std::memset(counted_, 0, sizeof counted_);
    counted_live_ = 0;
    empties_ = 0;
    std::memset(blocked_, 0, sizeof blocked_);
    std::memset(foreign_of_, 0, sizeof foreign_of_);
    pending_reservations_ = 0;
    operations_ = comparisons_ = rests_ = 0;
    cut_ = false;
    ops_left_ = large_ ? 400 : 80;
    spawns_left_ = large_ ? 130 : 20;
    quitting_ = false;
    workers_done_ = foreign_done_ = 0;
    runner_waits_ = false;
    again_.plain() = 0;
    phase_.plain() = 0;

    World::Hooks hooks;
    hooks.written = [](const void* atomic, u64 before, u64 after) {
      instance().on_word(atomic, before, after);
    };
    hooks.before_time_moves = [](u64) { instance().before_time_moves(); };
    world.reset({program.schedule.data(), program.schedule.size(), 0, s.repeat_schedule},
                {program.faults.data(), program.faults.size(), 0, false}, hooks, kStart,
                u64{1} << 20);
    kernel().init(config_, image_, &memory_);
    threads_ = audit_.emplace(kernel(), config_, image_, &memory_).threads();
    hooks.watch_begin = threads_;
    hooks.watch_end = threads_ + config_.max_threads;
    world.set_hooks(hooks);
    if (s.last_generation) age_first_slot();
    for (u32 w = 0; w < config_.workers; ++w) {
      worker_of_[w] = world.start(&worker_main, reinterpret_cast<void*>(u64{w}));
    }
    add_foreign(&controller_main, 2, 0);
    for (u32 f = 0; f < s.foreign; ++f)
      add_foreign(&foreign_main, f, static_cast<u8>(kFirstForeign + f));
  }

  void add_foreign(World::Entry entry, u32 index, u8 script) {
    Actor& actor = actors_[kMaxThreads + index];
    actor.script = script;
    foreign_of_[world.start(entry, &actor)] = &actor;
  }

  // Slot 0 has lived 2^32 - 2 times.
  void age_first_slot() {
    const Result<Green*> first = kernel().reserve();
    if (!first.ok()) return;  // a fault
    first.value()->word.plain() = u64{0xffff'ffff} << 32;
    spec_.threads[first.value()->id].generation = ~u32{0};
    kernel().abandon(*first.value());
  }

  // Nobody moves, and no deadline is left.
  void after_quiet() {
    check_quiet();
    if (world.failed()) return;
    if (spec_.live != 0 || foreign_done_ != program_->shape.foreign) {
      if (!next_phase()) return;  // stop
      check_quiet();
      if (world.failed()) return;
    } else {
      ++phase_.plain();  // nothing to stop
    }
    if (spec_.live != 0 || foreign_done_ != program_->shape.foreign)
      return fail("INV-DRAIN-1", __LINE__, "threads are left that stop() did not end");
    if (!next_phase()) return;  // quit
    if (workers_done_ != config_.workers)
      return fail("INV-IDLE-1", __LINE__, "a worker is left that quit() did not end");
    if (!spec_.inv_drain_1()) return fail("INV-DRAIN-1", __LINE__, "something is left");
    check_end();
  }

  bool next_phase() {
    ++phase_.plain();
    world.wake(&phase_);
    return world.run() == World::Outcome::quiet;
  }

  static void worker_main(void* argument) {
    KernelRig& rig = instance();
    const u32 index = static_cast<u32>(reinterpret_cast<u64>(argument));
    const bool until_drained = index == 0 && rig.program_->shape.until_drained;
    for (;;) {
      const Emptiness before = rig.emptiness();
      const Error error = really([&] { return rig.kernel().run_worker(index, until_drained); });
      if (error != Error::ok) rig.fail("INV-RUN-1", __LINE__, "run_worker refused");
      if (!until_drained) break;
      if (!rig.was_empty_since(before))
        rig.fail("INV-DRAIN-1", __LINE__, "run_worker returned before all threads had ended");
      // As a caller of run() who has more to do, and comes again.
      rig.runner_waits_ = true;
      while (!rig.quitting_ && rig.spec_.live == 0)
        Port::wait(rig.again_, rig.again_.plain(), kNever);
      rig.runner_waits_ = false;
      if (rig.quitting_ && rig.spec_.live == 0) break;
    }
    ++rig.workers_done_;
  }

  // The OS thread that starts the first thread, and at the end stops and quits.
  static void controller_main(void* argument) {
    KernelRig& rig = instance();
    Actor& self = *static_cast<Actor*>(argument);
    rig.spawn(self, 0, false);
    rig.call_runner();
    while (rig.phase_.plain() < 1) Port::wait(rig.phase_, 0, kNever);
    if (rig.phase_.plain() == 1) {
      rig.spec_.fifo = false;  // what stop makes ready from here goes through the global queue
      rig.spec_.queue.clear();
      rig.stop(self);
      while (rig.phase_.plain() < 2) Port::wait(rig.phase_, 1, kNever);
    }
    rig.quitting_ = true;
    really([&] { rig.kernel().quit(); });
    rig.call_runner();
  }

  static void foreign_main(void* argument) {
    KernelRig& rig = instance();
    rig.run_script(*static_cast<Actor*>(argument));
    ++rig.foreign_done_;
  }

  // Whoever says that all threads have ended says so of some moment of its operation. A thread
  // counts from the end of its spawn on.
  struct Emptiness {
    bool now;
    u64 times;
  };
  Emptiness emptiness() const { return {counted_live_ == 0, empties_}; }
  bool was_empty_since(const Emptiness& before) const {
    return before.now || counted_live_ == 0 || empties_ != before.times;
  }

  void call_runner() {
    if (!runner_waits_ || (!quitting_ && spec_.live == 0)) return;
    again_.fetch_add(1, std::memory_order_release);
    Port::wake(again_);
  }

  static void green_main(void* callable) noexcept {
    const Payload payload = *static_cast<Payload*>(callable);
    KernelRig& rig = *payload.rig;
    Green* thread = Kernel::current_thread();
    if (thread == nullptr || thread->id >= rig.config_.max_threads)
      return rig.fail("INV-CTX-2", __LINE__, "a thread runs that is not the current one");
    if (payload.serial >= rig.invoked_.size() || rig.invoked_[payload.serial] != 0)
      return rig.fail("INV-SLOT-1", __LINE__, "a callable is invoked again");
    rig.invoked_[payload.serial] = 1;
    Actor& self = rig.actors_[thread->id];
    self.script = payload.script;
    std::memcpy(self.name, payload.name, sizeof payload.name);
    if (const char* broken = rig.spec_.dispatch(thread->id))
      return rig.fail(broken, __LINE__, "a thread starts that is not ready");
    rig.compare();
    rig.run_script(self);
    rig.begin(self, OpCode::end);  // from here to the exit
  }

  void run_script(Actor& self) {
    const std::vector<Op>& script = scripts_[self.script];
    for (self.op = 0; self.op < script.size(); ++self.op) {
      if (!take_from_budget()) return;
      if (script[self.op].code == OpCode::end) return;
      execute(self, script[self.op]);
    }
  }

  bool take_from_budget() {
    if (ops_left_ == 0)
      cut_ = true;
    else
      --ops_left_;
    return !cut_;
  }

  // ---- operations ----

  void execute(Actor& self, const Op& op) {
    const bool green = self.id != kNobody;
    switch (op.code) {
      case OpCode::yield: {
        const u32 times = op.arg >= 192 ? 70 : op.arg % 4u + 1;
        for (u32 i = 0; i < times && take_from_budget(); ++i) yield(self);
        break;
      }
      case OpCode::spawn: {
        const u32 times = 1 + (op.arg >> 6) * (large_ ? 31u : 1u);
        for (u32 i = 0; i < times; ++i)
          spawn(self, static_cast<u8>(1 + op.arg % 3), (op.arg & 4) != 0);
        break;
      }
      case OpCode::park: park(self, kNever); break;
      case OpCode::park_until: park(self, deadline(op.arg)); break;
      case OpCode::unpark: step_on(self, OpCode::unpark, target(op.arg)); break;
      case OpCode::cancel: step_on(self, OpCode::cancel, target(op.arg)); break;
      case OpCode::sleep: sleep(self, deadline(op.arg)); break;
      case OpCode::join: join(self, target(op.arg), kNever); break;
      case OpCode::join_until: join(self, target(op.arg & 15), deadline(op.arg >> 4)); break;
      case OpCode::name:
        if (green) set_name(self, op.arg);
        break;
      case OpCode::abandon: abandon(self); break;
      case OpCode::stop: stop(self); break;
      case OpCode::look: look(self); break;
      case OpCode::wait_drained: wait_drained(self); break;
      case OpCode::block: block(self, deadline(op.arg % 10)); break;
      case OpCode::end: break;
    }
    if (!green) call_runner();
  }

  u64 deadline(u32 arg) const {
    const u64 delay = kDelays[arg % 12];
    if (delay >= kNever - 1) return delay;
    return world.now_ns() >= kNever - delay ? kNever : world.now_ns() + delay;
  }

  Handle target(u32 arg) const {
    if (arg >= 240) {  // false ones
      const u32 id = arg % config_.max_threads;
      switch (arg % 4) {
        case 0: return {};
        case 1: return {config_.max_threads + arg, 1};
        case 2: return {id, spec_.threads[id].generation + 1};
        default: return {id, spec_.threads[id].generation + 2};
      }
    }
    return issued_.empty() ? Handle{} : issued_[arg % issued_.size()];
  }

  void begin(Actor& self, OpCode code, Handle target = {}, u64 deadline_ns = kNever) {
    ++operations_;
    spec_.now_ns = world.now_ns();
    if (narration != nullptr)
      std::fprintf(narration, "%8llu  os %u  %d: %s\n",
                   static_cast<unsigned long long>(world.now_ns()), world.running(), int(self.id),
                   kOpNames[u32(code)]);
    self.busy = true;
    self.code = code;
    self.target = target;
    self.deadline_ns = deadline_ns;
    self.taken = self.may_find_none = self.reserving = self.may_have_given_up = false;
    self.target_lived = spec_.alive(target);
    self.target_known = self.target_lived || spec_.has_ended(target);
    if (self.id == kNobody) return;
    if (spec_.threads[self.id].state != spec::State::running)
      fail("INV-WAKE-1", __LINE__, "a thread acts that does not run");
  }

  // The operation has returned; on a green thread, perhaps on another worker.
  void finish(Actor& self, bool blocks = false) {
    spec_.now_ns = world.now_ns();
    self.busy = false;
    if (self.id != kNobody) {
      const Green* thread = Kernel::current_thread();
      if (thread == nullptr || thread->id != self.id || handle_of(*thread) != self.handle)
        return fail("INV-CTX-2", __LINE__, "the worker runs another thread than its current one");
      if (blocks) {
        if (self.may_have_given_up && spec_.threads[self.id].on_stack)
          spec_.take(self.id, *spec::give_up(spec_.threads[self.id]));
        if (const char* broken = spec_.dispatch(self.id)) return fail(broken, __LINE__, kNotReady);
        spec_.end_sleep(self.id);
        if (spec_.threads[self.id].owed)
          return fail("INV-WAIT-1", __LINE__, "a wake is left over after its wait");
      } else if (spec_.threads[self.id].state != spec::State::running) {
        return fail("INV-CTX-2", __LINE__,
                    "an operation that does not wait has stopped its thread");
      }
    }
    compare();
  }

  static Handle handle_of(const Green& thread) {
    return {thread.id, core::ParkWord{thread.word.plain()}.generation()};
  }

  void answer(Actor& self, bool allowed, Error result) {
    world.mix(static_cast<u64>(result) + 1);
    if (narration != nullptr)
      std::fprintf(narration, "%8llu  os %u  %d: %s -> %s\n",
                   static_cast<unsigned long long>(world.now_ns()), world.running(), int(self.id),
                   kOpNames[u32(self.code)], error_name(result));
    if (!allowed) {
      char text[100];
      std::snprintf(text, sizeof text, "answers %s, which the specification does not allow",
                    error_name(result));
      fail(name_of_rule(self.code), __LINE__, text);
    }
  }

  static const char* name_of_rule(OpCode code) {
    switch (code) {
      case OpCode::spawn:
      case OpCode::abandon: return "INV-SLOT-3";
      case OpCode::sleep: return "INV-TMR-1";
      case OpCode::join:
      case OpCode::join_until: return "INV-JOIN-1";
      case OpCode::park:
      case OpCode::park_until: return "INV-PARK-1";
      default: return "INV-SLOT-1";
    }
  }

  void yield(Actor& self) {
    begin(self, OpCode::yield);
    if (self.id != kNobody) spec_.yield(self.id);
    really([] { Kernel::yield(); });
    finish(self, true);
  }

  void park(Actor& self, u64 deadline_ns) {
    begin(self, deadline_ns == kNever ? OpCode::park : OpCode::park_until, {}, deadline_ns);
    const Error result = really([=] { return Kernel::park(deadline_ns); });
    finish(self, true);
    answer(self,
           self.id == kNobody ? result == Error::wrong_context : spec_.allows_park(self.id, result),
           result);
  }

  void sleep(Actor& self, u64 deadline_ns) {
    begin(self, OpCode::sleep, {}, deadline_ns);
    const Error result = really([=] { return Kernel::sleep_until(deadline_ns); });
    finish(self, true);
    if (self.id != kNobody)
      return answer(self, spec_.allows_sleep(self.id, result, deadline_ns), result);
    answer(self, result == Error::wrong_context, result);
    Atomic<u32> own{0};  // an OS thread sleeps as OS threads do
    if (deadline_ns != kNever) Port::wait(own, 0, deadline_ns);
  }

  void step_on(Actor& self, OpCode code, Handle target) {
    begin(self, code, target);
    const Error result = really(
        [&] { return code == OpCode::unpark ? kernel().unpark(target) : kernel().cancel(target); });
    const bool lived = self.target_lived;
    finish(self);
    answer(self, spec_.allows_step(target, result, self.taken, lived), result);
  }

  void join(Actor& self, Handle target, u64 deadline_ns) {
    begin(self, OpCode::join, target, deadline_ns);
    const Error result = really([&] { return kernel().join(target, deadline_ns); });
    finish(self, true);
    const bool known = self.target_known;
    answer(self, !canary && spec_.allows_join(self.id, target, deadline_ns, result, known), result);
  }

  void set_name(Actor& self, u32 arg) {
    begin(self, OpCode::name);
    char text[40] = "";
    for (u32 i = 0; i < arg % 40; ++i) text[i] = static_cast<char>('a' + arg % 26);
    really([&] { kernel().set_name(*Kernel::current_thread(), text); });
    std::memcpy(self.name, text, sizeof text);
    self.name[core::kNameBytes - 1] = 0;
    finish(self);
  }

  void look(Actor& self) {
    begin(self, OpCode::look);
    const u64 ended = spec_.ended;
    const u64 spawned = kernel().count(core::Count::spawned);
    if (spawned > spec_.spawned) fail("INV-DRAIN-1", __LINE__, "more spawned than there were");
    if (kernel().count(core::Count::ended) > spec_.ended)
      fail("INV-DRAIN-1", __LINE__, "more ended than there were");
    const Emptiness before = emptiness();
    if (really([&] { return kernel().all_ended(); }) && !was_empty_since(before))
      fail("INV-DRAIN-1", __LINE__, "all_ended() is early");
    if (self.id != kNobody) {
      const Green& thread = *Kernel::current_thread();
      const bool was = spec_.threads[self.id].cancelled || spec_.stopped;
      const bool told = kernel().cancelled(thread);
      if (told ? !spec_.threads[self.id].cancelled && !spec_.stopping : was)
        fail("INV-SLOT-1", __LINE__, "cancelled() is wrong");
      if (std::strcmp(kernel().name(thread), self.name) != 0)
        fail("INV-SLOT-1", __LINE__, "the thread has another's name");
      if (Kernel::current_scheduler() != &kernel() || spec_.ended < ended)
        fail("INV-CTX-2", __LINE__, "another runtime");
      if (kernel().run_worker(0, true) != Error::wrong_context)
        fail("INV-RUN-1", __LINE__, "a green thread may run a worker");
    } else if (Kernel::current_scheduler() != nullptr) {
      fail("INV-CTX-2", __LINE__, "a foreign OS thread has a runtime");
    }
    finish(self);
  }

  void wait_drained(Actor& self) {
    begin(self, OpCode::wait_drained);
    const Emptiness before = emptiness();
    const Error result = really([&] { return kernel().wait_drained(); });
    finish(self);
    if (self.id != kNobody) return answer(self, result == Error::wrong_context, result);
    if (!was_empty_since(before))
      fail("INV-DRAIN-1", __LINE__, "wait_drained returned before all had ended");
    answer(self, result == Error::ok, result);
  }

  // As a call of the system that blocks, which the kernel knows nothing of.
  void block(Actor& self, u64 deadline_ns) {
    begin(self, OpCode::block);
    const u32 os = world.running();
    Atomic<u32> own{0};
    blocked_[os] = self.id != kNobody;
    if (deadline_ns != kNever) Port::wait(own, 0, deadline_ns);
    blocked_[os] = false;
    finish(self);
  }

  void stop(Actor& self) {
    begin(self, OpCode::stop);
    spec_.stop();
    really([&] { kernel().stop(); });
    spec_.stopped = true;
    finish(self);
  }

  // Reserves. Null when refused, and the refusal was allowed.
  Green* reserve(Actor& self, OpCode code) {
    begin(self, code);
    const bool stopped_before = spec_.stopped;
    const bool may_refuse = memory_.admitted() < config_.max_threads && !program_->faults.empty();
    self.reserving = true;
    ++pending_reservations_;
    mark_full();
    const Result<Green*> result = really([&] { return kernel().reserve(); });
    if (result.ok()) {
      Green& thread = *result.value();
      if (thread.id >= config_.max_threads || spec_.threads[thread.id].alive() ||
          reserved_[thread.id]) {
        fail("INV-SLOT-2", __LINE__, "a slot is given out that is in use");
      }
      if (stopped_before) fail("INV-DRAIN-1", __LINE__, "a stopped runtime takes a new thread");
      reserved_[thread.id] = true;
      return &thread;
    }
    --pending_reservations_;
    self.reserving = false;
    finish(self);
    const Error error = result.error();
    answer(self,
           (error == Error::no_slot && self.may_find_none && !stopped_before) ||
               (error == Error::map_limit && may_refuse) ||
               (error == Error::stopped && spec_.stopping),
           error);
    return nullptr;
  }

  // The number of slots that may be in use grows only here; each operation that reserves and
  // overlaps with a moment at which no slot is left may say so. [INV-SLOT-3]
  void mark_full() {
    World::Still still(world);
    const u64 used = pending_reservations_ + spec_.spawned - kernel().count(core::Count::ended);
    if (used <= config_.max_threads) return;
    for (Actor& actor : actors_) {
      if (actor.busy && actor.reserving) actor.may_find_none = true;
    }
  }

  void spawn(Actor& self, u8 script, bool named) {
    if (spawns_left_ == 0) {
      cut_ = true;
      return;
    }
    --spawns_left_;
    Green* thread = reserve(self, OpCode::spawn);
    if (thread == nullptr) return;
    const u64 serial = invoked_.size();
    invoked_.push_back(0);
    auto* payload = new (kernel().callable(*thread)) Payload{this, serial, script, ""};
    if (named) std::snprintf(payload->name, sizeof payload->name, "t%u", u32(serial % 1000));
    char name[8];
    std::memcpy(name, payload->name, sizeof name);
    self.target = {thread->id, 0};
    const Handle handle =
        really([&] { return kernel().publish(*thread, &green_main, named ? name : nullptr); });
    if (!self.taken) fail("INV-SLOT-1", __LINE__, "a spawn has not begun a life");
    if (handle != self.target) fail("INV-SLOT-1", __LINE__, "spawn returns another thread");
    issued_.push_back(handle);
    if (spec_.alive(handle)) {
      counted_[handle.id] = true;
      ++counted_live_;
    }
    finish(self);
  }

  void abandon(Actor& self) {
    Green* thread = reserve(self, OpCode::abandon);
    if (thread == nullptr) return;
    reserved_[thread->id] = false;
    really([&] { kernel().abandon(*thread); });
    --pending_reservations_;
    self.reserving = false;
    finish(self);
  }

  // ---- the link: each step of a word ----

  Actor* running_actor() {
    if (const Green* green = Kernel::current_thread()) return &actors_[green->id];
    return foreign_of_[world.running()];
  }

  bool try_step(u32 id, const spec::Next& next, u64 after) {
    if (!next || !matches(*next, after)) return false;
    spec_.take(id, *next);
    return true;
  }

  void on_word(const void* atomic, u64 before, u64 after) {
    const usize offset = static_cast<usize>(static_cast<const std::byte*>(atomic) -
                                            reinterpret_cast<const std::byte*>(threads_));
    const u32 id = static_cast<u32>(offset / sizeof(Green));
    spec_.now_ns = world.now_ns();
    world.mix(after ^ id);
    const spec::Thread& t = spec_.threads[id];
    if (narration != nullptr) narrate_step(id, before, after);
    if (!matches(t, before)) return fail("INV-REF-1", __LINE__, "a word was changed unseen");
    Actor* actor = running_actor();
    if (actor != nullptr && actor->busy) {
      if (step_of_its_own(*actor, id, after) || step_on_another(*actor, id, after)) return;
    }
    // The end of the switch that left the thread, by the worker that left it. INV-CTX-1
    if (world.running() == actors_[id].left_on && !on_stack_of(id) &&
        try_step(id, spec::commit(t), after)) {
      return;
    }
    // The deadline, by whichever worker.
    if (spec_.deadline_of(id) <= spec_.now_ns && try_step(id, spec::timeout(t), after)) {
      // INV-TMR-1, INV-TMR-3. Without effect, it looks as if the thread itself gave its wait up.
      if (before == after) actors_[id].may_have_given_up = actor == &actors_[id];
      return spec_.end_sleep(id);
    }
    if (actor != nullptr && actor->busy && actor->id == id && may_give_up(*actor) &&
        try_step(id, spec::give_up(t), after)) {
      return spec_.end_sleep(id);
    }
    char text[150];
    std::snprintf(text, sizeof text,
                  "thread %u takes a step that is not allowed now: %llx -> %llx, at %llu of %llu",
                  id, static_cast<unsigned long long>(before),
                  static_cast<unsigned long long>(after),
                  static_cast<unsigned long long>(spec_.now_ns),
                  static_cast<unsigned long long>(spec_.deadline_of(id)));
    fail(rule_of(before, after), __LINE__, text);
  }

  void narrate_step(u32 id, u64 before, u64 after) {
    static constexpr const char* kPhases[] = {"free", "active", "parking", "parked"};
    static constexpr const char* kEnds[] = {"permit", "wake", "timeout", "cancel"};
    const core::ParkWord b{before};
    const core::ParkWord a{after};
    const Actor* actor = running_actor();
    std::fprintf(narration, "%8llu  os %u  ", static_cast<unsigned long long>(world.now_ns()),
                 world.running());
    if (actor != nullptr)
      std::fprintf(narration, "(%s of %d) ", kOpNames[u32(actor->code)], int(actor->id));
    std::fprintf(narration, "thread %u.%u %s -> %s%s%s%s%s, ended by %s%s\n", id, a.generation(),
                 kPhases[u32(b.phase())], kPhases[u32(a.phase())],
                 a.has(core::ParkWord::kPermit) ? " permit" : "",
                 a.has(core::ParkWord::kWoken) ? " owed" : "",
                 a.has(core::ParkWord::kCancelled) ? " cancelled" : "",
                 a.has(core::ParkWord::kJoined) ? " joined" : "", kEnds[u32(a.ended())],
                 before == after ? ", no change" : "");
  }

  // The actor on itself: begins to wait, or ends.
  bool step_of_its_own(Actor& actor, u32 id, u64 after) {
    if (actor.id != id) return false;
    const spec::Thread& t = spec_.threads[id];
    switch (actor.code) {
      case OpCode::end:
        if (!try_step(id, spec::exit(t), after)) return false;
        reserved_[id] = false;
        if (std::exchange(counted_[id], false) && --counted_live_ == 0) ++empties_;
        return true;
      case OpCode::park:
      case OpCode::park_until: return begin_wait(actor, spec::Wait::park, after);
      case OpCode::sleep: return begin_wait(actor, spec::Wait::object, after);
      case OpCode::join:
        if (actor.taken) {
          // After the first wait was ended by something else, the wake that is owed. One that has
          // not left its stack yet is still in its first wait, and meets its own deadline.
          if (t.state != spec::State::ready || t.on_stack || !on_stack_of(id)) return false;
          if (const char* broken = spec_.dispatch(id))
            return fail(broken, __LINE__, kNotReady), true;
          spec_.end_sleep(id);
          return begin_wait(actor, spec::Wait::owed, after);
        }
        return begin_wait(actor, spec::Wait::object, after);
      default: return false;
    }
  }

  bool begin_wait(Actor& actor, spec::Wait wait, u64 after) {
    if (!try_step(actor.id, spec::begin_wait(spec_.threads[actor.id], wait), after)) return false;
    actor.left_on = world.running();
    if (wait != spec::Wait::owed && spec_.threads[actor.id].waits())
      spec_.sleep(actor.id, actor.deadline_ns);
    return true;
  }

  bool may_give_up(const Actor& actor) const {
    return spec_.stopping || (actor.code == OpCode::join && !spec_.alive(actor.target));
  }

  bool step_on_another(Actor& actor, u32 id, u64 after) {
    const spec::Thread& t = spec_.threads[id];
    const bool aimed = actor.target.id == id && !actor.taken;
    const auto once = [&](const spec::Next& next) {
      return aimed && spec_.alive(actor.target) && (actor.taken = try_step(id, next, after));
    };
    switch (actor.code) {
      case OpCode::spawn:
        if (!aimed || !try_step(id, spec::spawn(t), after)) return false;
        actor.taken = true;
        actor.target.generation = t.generation;
        actors_[id] = Actor{};
        actors_[id].id = id;
        actors_[id].handle = actor.target;
        --pending_reservations_;
        actor.reserving = false;
        return true;
      case OpCode::unpark: return once(spec::unpark(t));
      case OpCode::cancel: return once(spec::cancel(t));
      case OpCode::stop: return try_step(id, spec::cancel(t), after);
      case OpCode::join: return once(spec::join_registered(t));
      case OpCode::end:
        // An exit wakes those who join it, and nobody else. INV-WAIT-1, INV-JOIN-1
        return !spec_.alive(actor.handle) && actors_[id].busy && actors_[id].code == OpCode::join &&
               actors_[id].target == actor.handle && actors_[id].taken &&
               try_step(id, spec::wake(t), after);
      default: return false;
    }
  }

  // True when the running stack is the thread's.
  bool on_stack_of(u32 id) const {
    const u32 stack = threads_[id].stack;
    if (stack >= config_.max_threads) return false;
    const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
    return here >= memory_.stack(stack) && here < memory_.top(stack);
  }

  static const char* rule_of(u64 before, u64 after) {
    const core::ParkWord b{before};
    const core::ParkWord a{after};
    if (b.generation() != a.generation() || b.phase() == core::Phase::free) return "INV-SLOT-1";
    if (a.phase() == core::Phase::parked) return "INV-CTX-1";
    if (b.has(core::ParkWord::kPermit) != a.has(core::ParkWord::kPermit)) return "INV-PARK-1";
    if (b.has(core::ParkWord::kWoken) != a.has(core::ParkWord::kWoken)) return "INV-WAIT-1";
    if (b.waiting() && !a.waiting()) {
      return a.ended() == core::Ended::timeout ? "INV-TMR-1" : "INV-WAKE-1";
    }
    return "INV-PARK-1";
  }

  // ---- the abstraction function, and the comparison ----

  // When nothing is half done anywhere.
  void compare() {
    // With many threads a comparison takes longer than many operations.
    if (!world.others_wait() || (large_ && operations_ % 16 != 0)) return;
    World::Still still(world);
    ++comparisons_;
    compare_all();
    if (at_comparison != nullptr) at_comparison(*this, comparisons_);
  }

  void compare_all() {
    const Auditor& audit = auditor();
    places_.assign(config_.max_threads, 0);
    order_.clear();
    const char* broken = audit.visit_ready([&](const Green* thread) -> const char* {
      const usize id = static_cast<usize>(thread - threads_);
      if (id >= places_.size()) return "INV-RQ-1";
      ++places_[id];
      order_.push_back(static_cast<u32>(id));
      return thread->queued ? nullptr : "INV-RQ-1";
    });
    if (broken == nullptr) broken = spec_.inv_rq_1(places_);
    if (broken != nullptr) return fail(broken, __LINE__, "the ready queues differ");
    if (spec_.fifo &&
        !std::equal(order_.begin(), order_.end(), spec_.queue.begin(), spec_.queue.end())) {
      return fail("INV-RQ-3", __LINE__, "the local queue's order differs");
    }
    sleepers_.clear();
    broken = audit.visit_sleepers([&](u32, const core::SleepHeap::Entry& entry) -> const char* {
      sleepers_.push_back({entry.deadline_ns, entry.sleeper});
      return nullptr;
    });
    std::sort(sleepers_.begin(), sleepers_.end());
    if (broken != nullptr) return fail(broken, __LINE__, "a sleep heap is inconsistent");
    if (!spec_.inv_tmr_3(sleepers_)) return fail("INV-TMR-3", __LINE__, "the sleepers differ");
    places_.assign(config_.max_threads, 0);
    broken = audit.visit_free([&](u32 id) -> const char* {
      ++places_[id];
      return nullptr;
    });
    for (u32 id = 0; id < config_.max_threads; ++id) {
      // A reserved slot is nobody's yet; its thread is free and it is not in the pool.
      if (reserved_[id] && !spec_.threads[id].alive()) ++places_[id];
      if (!matches(spec_.threads[id], threads_[id].word.plain()))
        return fail("INV-REF-1", __LINE__, "a thread's state differs");
    }
    if (broken != nullptr || !spec_.inv_slot_2(places_, memory_.admitted()))
      fail("INV-SLOT-2", __LINE__, "the free slots differ");
  }

  // Every virtual thread waits, and time is about to move, or nothing will ever happen again.
  void before_time_moves() {
    u64 armed = kNever;
    for (u32 w = 0; w < config_.workers; ++w) {
      if (!blocked_[worker_of_[w]]) armed = std::min(armed, world.deadline_of(worker_of_[w]));
    }
    check_at_rest(armed);
  }
  void check_quiet() { check_at_rest(kNever); }

  void check_at_rest(u64 armed_ns) {
    World::Still still(world);
    u32 blocked = 0;
    for (u32 w = 0; w < config_.workers; ++w) blocked += blocked_[worker_of_[w]] ? 1 : 0;
    if (work_conserving && !spec_.inv_idle_3(blocked, config_.workers))
      return fail("INV-IDLE-3", __LINE__,
                  "a worker sleeps while a thread waits behind a blocked one");
    if (!spec_.inv_idle_1(blocked))
      return fail("INV-IDLE-1", __LINE__, "a lost wake: a thread is ready, and nobody will run it");
    if (blocked < config_.workers && !spec_.inv_tmr_2(armed_ns))
      return fail("INV-TMR-2", __LINE__, "no worker will wake in time for the first sleeper");
    if (!spec_.inv_park_1()) return fail("INV-PARK-1", __LINE__, "a thread waits for what it has");
    // As in compare(): at the last rest of a run always.
    if (large_ && armed_ns != kNever && ++rests_ % 8 != 0) return;
    compare_all();
    if (world.failed()) return;
    const core::Finding finding = auditor().full(scratch_);
    if (!finding.ok())
      fail(finding.invariant, __LINE__, "audit() finds fault with a sound runtime");
    u32 cursor = 0;
    if (!auditor().step(cursor).ok()) fail("INV-AUD-1", __LINE__, "so does its walk");
  }

  void check_end() {
    World::Still still(world);
    const auto count = [this](core::Count kind) { return kernel().count(kind); };
    if (count(core::Count::spawned) != spec_.spawned || count(core::Count::ended) != spec_.ended ||
        count(core::Count::started) != spec_.spawned) {
      return fail("INV-DRAIN-1", __LINE__, "the counts differ");
    }
    for (const u8 invoked : invoked_) {
      if (invoked != 1) return fail("INV-STEAL-1", __LINE__, "a thread never ran");
    }
    if (!memory_.marks_intact()) return fail("INV-STACK-1", __LINE__, "a stack has overflowed");
    check_at_rest(kNever);
  }

 public:
  // Any stack. Does not return inside the world.
  void fail(const char* invariant, int line, const char* what) {
    char text[190];
    Actor* actor = running_actor_or_null();
    if (actor == nullptr) {
      std::snprintf(text, sizeof text, "%s", what);
    } else {
      std::snprintf(text, sizeof text, "script %u, operation %u (%s): %s", u32{actor->script},
                    actor->op, kOpNames[static_cast<u32>(actor->code)], what);
    }
    world.fail(invariant, "model/kernel_rig.hpp", line, text);
  }

 private:
  Actor* running_actor_or_null() {
    if (!world.inside()) return nullptr;
    return running_actor();
  }

  static constexpr u64 kStart = 1000;
  static constexpr const char* kNotReady = "a thread was resumed that is not ready";

  const Program* program_ = nullptr;
  std::vector<Op> scripts_[kScripts];
  Config config_;
  bool large_ = false;
  std::byte* image_ = nullptr;
  alignas(64) std::byte kernel_[sizeof(Kernel)];
  Memory memory_;
  std::optional<Auditor> audit_;
  const Green* threads_ = nullptr;
  spec::Spec spec_;
  Actor actors_[kMaxThreads + 3];
  Actor* foreign_of_[kMaxVirtual] = {};
  u32 worker_of_[3] = {};
  bool blocked_[kMaxVirtual] = {};  // OS threads that a green thread blocks
  bool reserved_[kMaxThreads] = {};
  bool counted_[kMaxThreads] = {};
  u32 counted_live_ = 0;
  u64 empties_ = 0;
  u8 scratch_[kMaxThreads] = {};
  std::vector<Handle> issued_;
  std::vector<u8> invoked_;
  std::vector<u8> places_;
  std::vector<u32> order_;
  std::vector<spec::Spec::Sleeper> sleepers_;
  u64 pending_reservations_ = 0;
  u32 operations_ = 0;
  u32 comparisons_ = 0;
  u32 rests_ = 0;  // of a large runtime
  u32 ops_left_ = 0;
  u32 spawns_left_ = 0;
  bool cut_ = false;
  bool quitting_ = false;
  bool runner_waits_ = false;
  u32 workers_done_ = 0;
  u32 foreign_done_ = 0;
  Atomic<u32> again_{0};
  Atomic<u32> phase_{0};
};

GVT_MODEL_END

}  // namespace gvt::sim
