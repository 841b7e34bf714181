// SPDX-License-Identifier: MIT
//
// sim_port.cpp - see sim_port.hpp.
#include "model/sim_port.hpp"

#include <cstdio>
#include <cstdlib>

#if defined(GVT_ASAN)
// A stack that was left in the middle of a function is used again in the next run: frames are
// checked, but not kept after their return, which would map memory for each of thousands of stacks
// a second.
extern "C" const char* __asan_default_options() {
  return "detect_stack_use_after_return=0:detect_leaks=0";
}
#endif

GVT_MODEL_BEGIN

namespace gvt::sim {

constinit World world;
alignas(4096) std::byte sim_stacks[kMaxVirtual + kMaxGreenStacks][kStackBytes];

namespace {

// What one byte of the schedule says: run for so many points, then the who-th ready thread; `tick`:
// a nanosecond passes.
struct Choice {
  explicit Choice(u8 byte) noexcept : who((byte >> 4) & 7), tick(byte >= 0x80) {
    static constexpr u16 kPoints[16] = {1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 80, 160, 400};
    points = kPoints[byte & 15];
  }
  u32 points;
  u32 who;
  bool tick;
};

// What one byte of the faults does to a wait.
enum class WaitFault : u8 { none, spurious, late, frozen_clock };
WaitFault wait_fault(u8 byte) noexcept { return static_cast<WaitFault>(byte & 3); }

}  // namespace

void World::reset(const Tape& schedule, const Tape& faults, const Hooks& hooks, u64 start_ns,
                  u64 step_limit) noexcept {
  for (u32 i = 0; i < count_; ++i) {
#if defined(GVT_TSAN)
    if (i != kCaller && threads_[i].state != State::unused)
      Sanitizer::fiber_destroy(threads_[i].fiber);
#endif
    threads_[i] = VirtualThread{};
  }
  countdown_ = ~u64{0};
  slice_ = 0;
  now_ns_ = start_ns;
  steps_ = switches_ = 0;
  step_limit_ = step_limit;
  trace_ = 0;
  running_ = kCaller;
  count_ = 1;
  ready_ = 0;
  schedule_ = schedule;
  faults_ = faults;
  hooks_ = hooks;
  failure_.invariant = nullptr;
  current = nullptr;
}

u32 World::start(Entry entry, void* argument) noexcept {
  GVT_ASSERT(count_ < kMaxVirtual);
  const u32 self = count_++;
  VirtualThread& thread = threads_[self];
  std::byte* stack = sim_stacks[self];
  thread.entry = entry;
  thread.argument = argument;
  thread.state = State::ready;
  Arch::make_context(thread.context, stack + kStackBytes, &main_of_virtual);
  Sanitizer::fiber_create(thread.fiber, stack, kStackBytes);
  ready_ |= 1u << self;
  return self;
}

void World::main_of_virtual(void*) noexcept {
  VirtualThread& self = world.threads_[world.running_];
  Sanitizer::fiber_enter(self.fiber);
  self.entry(self.argument);
  self.state = State::ended;
  world.ready_ &= ~(1u << world.running_);
  world.switch_to(world.ready_after(world.running_));
}

// To another virtual thread, or back to run()'s caller.
void World::switch_to(u32 next) noexcept {
  const u32 self = running_;
  if (next == self) return;
  VirtualThread& from = threads_[self];
  VirtualThread& to = threads_[next];
  from.current = current;
  current = to.current;
  running_ = next;
  ++switches_;
  mix(next);
  // Where this virtual thread stands it may be on any stack: its own, or a green thread's.
  from.fiber = {};
  Sanitizer::fiber_adopt(from.fiber);
  Sanitizer::fiber_leave(from.fiber, to.fiber, false);
  Arch::switch_context(from.context, to.context, nullptr);
  Sanitizer::fiber_enter(threads_[self].fiber);
}

// The next one in turn, itself if there is no other; the caller when none is ready.
u32 World::ready_after(u32 thread) const noexcept {
  if (ready_ == 0) return kCaller;
  const u32 later = ready_ & ~((2u << thread) - 1);
  return static_cast<u32>(std::countr_zero(later != 0 ? later : ready_));
}

void World::set_slice(u64 points) noexcept { slice_ = countdown_ = points; }

void World::set_ready(VirtualThread& thread) noexcept {
  thread.state = State::ready;
  thread.word = nullptr;
  ready_ |= 1u << (&thread - threads_);
}

void World::wake_due() noexcept {
  for (u32 i = 1; i < count_; ++i) {
    if (threads_[i].state == State::waiting && threads_[i].deadline_ns <= now_ns_)
      set_ready(threads_[i]);
  }
}

// The slice of the running virtual thread is over: the schedule says who is next, and for how long.
void World::reschedule() noexcept {
  if (!inside()) {  // the caller's own context looks at the kernel
    countdown_ = ~u64{0};
    return;
  }
  steps_ += slice_;
  if (steps_ > step_limit_)
    fail("INV-LIVE-1", __FILE__, __LINE__, "the step limit is reached: a livelock");
  u32 next = running_;
  if (schedule_.more()) {
    const Choice choice(schedule_.next());
    if (choice.tick) {
      if (now_ns_ < kNever - 1) ++now_ns_;
      wake_due();
    }
    set_slice(choice.points);
    // A schedule that repeats must not starve anybody for ever.
    const u32 who = (choice.who + schedule_.laps) % static_cast<u32>(std::popcount(ready_));
    for (u32 i = 0; i <= who; ++i) next = ready_after(next);
  } else {
    set_slice(kFairSlice);
    next = ready_after(running_);
  }
  switch_to(next);
}

void World::give_way() noexcept {
  steps_ += 8;
  if (steps_ > step_limit_)
    fail("INV-LIVE-1", __FILE__, __LINE__, "a spin loop never ends: a livelock");
  if (!inside()) return fail("INV-LOCK-1", __FILE__, __LINE__, "the caller's own context spins");
  switch_to(ready_after(running_));
}

void World::wait(const void* word, const u32* value, u32 expected, u64 deadline_ns) noexcept {
  point();
  if (*value != expected) return;
  const u8 fault = faults_.next();
  if (wait_fault(fault) == WaitFault::spurious) return give_way();
  if (deadline_ns <= now_ns_) return;
  VirtualThread& self = threads_[running_];
  self.word = word;
  self.deadline_ns = deadline_ns;
  self.fault = fault;
  self.state = State::waiting;
  ready_ &= ~(1u << running_);
  switch_to(ready_after(running_));
}

// Whichever waits longest is not known to a futex either: the schedule's trace chooses.
void World::wake(const void* word) noexcept {
  point();
  for (u32 i = 0; i < count_; ++i) {
    VirtualThread& thread = threads_[(i + static_cast<u32>(trace_ >> 8)) % count_];
    if (thread.state == State::waiting && thread.word == word) return set_ready(thread);
  }
}

u64 World::earliest_wait_ns() const noexcept {
  u64 earliest = kNever;
  for (u32 i = 1; i < count_; ++i) {
    if (threads_[i].state == State::waiting && threads_[i].deadline_ns < earliest)
      earliest = threads_[i].deadline_ns;
  }
  return earliest;
}

World::Outcome World::run() noexcept {
  GVT_ASSERT(!inside());
  for (;;) {  // ends: programs are finite, and the steps are counted
    while (ready_ != 0 && !failed()) {
      set_slice(schedule_.more() ? Choice(schedule_.next()).points : kFairSlice);
      switch_to(ready_after(kCaller));
      countdown_ = ~u64{0};
    }
    if (failed()) return Outcome::failed;
    const u64 deadline = earliest_wait_ns();
    if (deadline == kNever) return Outcome::quiet;
    hooks_.before_time_moves(deadline);
    if (failed()) return Outcome::failed;
    steps_ += 16;
    u64 moved = deadline;
    for (u32 i = 1; i < count_; ++i) {
      VirtualThread& thread = threads_[i];
      if (thread.state != State::waiting || thread.deadline_ns != deadline) continue;
      if (wait_fault(thread.fault) == WaitFault::frozen_clock) {
        moved = now_ns_;  // returns too early
        set_ready(thread);
      } else if (wait_fault(thread.fault) == WaitFault::late && deadline < kNever - 256) {
        moved = deadline + (thread.fault >> 2);
      }
    }
    if (moved > now_ns_) now_ns_ = moved;
    wake_due();
    mix(now_ns_);
  }
}

void World::fail(const char* invariant, const char* file, int line, const char* what) noexcept {
  if (!failed()) {
    failure_.invariant = invariant;
    failure_.file = file;
    failure_.line = line;
    std::snprintf(failure_.what, sizeof failure_.what, "%s", what);
  }
  if (inside()) switch_to(kCaller);  // and never back
}

// ---- stacks ----

void Memory::reset(u32 slots) noexcept {
  slots_ = slots;
  admitted_ = prepared_ = 0;
  discarded_ = 0;
}

bool Memory::marks_intact() const noexcept {
  for (u32 slot = 0; slot < prepared_; ++slot) {
    if (*reinterpret_cast<const u64*>(stack(slot)) != kMark) return false;
  }
  return true;
}

// A fault byte refuses some of the guards: none at all in one case out of count + 1.
u32 Memory::admit(u32 first, u32 count) noexcept {
  GVT_INVARIANT("INV-SLOT-2", first == admitted_ && first + count <= slots_);
  const u32 refused = world.next_fault() % (count + 1);
  admitted_ += count - refused;
  return count - refused;
}

u32 Memory::prepare(u32 first, u32 count) noexcept {
  GVT_INVARIANT("INV-SLOT-2", first == prepared_ && first + count <= slots_);
  const u32 refused = world.next_fault() % (count + 1);
  for (u32 slot = first; slot < first + count - refused; ++slot)
    *reinterpret_cast<u64*>(stack(slot)) = kMark;
  prepared_ += count - refused;
  return count - refused;
}

void Memory::discard(const u32* slots, u32 count) noexcept {
  for (u32 i = 0; i < count; ++i) GVT_INVARIANT("INV-SLOT-2", slots[i] < prepared_);
  discarded_ += count;
}

}  // namespace gvt::sim

namespace gvt {

[[noreturn]] void panic(const char* invariant, const char* condition, const char* file,
                        int line) noexcept {
  if (sim::world.inside()) sim::world.fail(invariant, file, line, condition);
  std::fprintf(stderr, "gvthread: %s violated: %s (%s:%d)\n", invariant, condition, file, line);
  std::abort();
}

}  // namespace gvt

GVT_MODEL_END
