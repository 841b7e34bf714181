// SPDX-License-Identifier: MIT
//
// sim_port.hpp - the simulated machine: a port whose OS threads are virtual, all on the one real OS
// thread that calls. Every atomic operation, wait, wake and look at the clock is a point at which
// the world may switch to another virtual thread, as the schedule says. Time is virtual: it moves
// when every virtual thread waits, or by a step of the schedule. Faults: waits that return early or
// late, a clock that stands still, refused guards. The whole state lies in `world`, `sim_stacks`
// and the kernel's own memory, and nothing allocates, so that it can be saved by memcpy. May
// include core/, arch/ and platform/linux/sanitizer.hpp. Tests: tests/property, fuzz/.
#pragma once

#include <atomic>
#include <bit>
#include <type_traits>

#include "arch/x86_64/context.hpp"
#include "core/port.hpp"
#include "model/coverage.hpp"
#include "platform/linux/sanitizer.hpp"

namespace gvt::sim {

using Sanitizer = platform_linux::Sanitizer;
using Arch = x86_64::Arch;

#if defined(GVT_ASAN) || defined(GVT_TSAN) || !defined(__OPTIMIZE__)
inline constexpr usize kStackBytes = 128 * 1024;
#else
inline constexpr usize kStackBytes = 32 * 1024;
#endif
inline constexpr u32 kMaxVirtual = 8;        // the caller's own context and 7 virtual OS threads
inline constexpr u32 kMaxGreenStacks = 128;  // of one kernel

// What went wrong first. Written on any stack, read on the caller's.
struct Failure {
  const char* invariant = nullptr;  // null: nothing
  const char* file = "";
  int line = 0;
  char what[200] = {};
};

// Bytes that say what happens at the next choice; after the last one comes "nothing special".
struct Tape {
  const u8* bytes = nullptr;
  usize count = 0;
  usize at = 0;
  bool repeats = false;
  u32 laps = 0;

  bool more() noexcept {
    if (at == count && repeats) {
      at = 0;
      ++laps;
    }
    return at < count;
  }
  u8 next() noexcept { return more() ? bytes[at++] : u8{0}; }
};

class World {
 public:
  enum class Outcome : u8 {
    quiet,   // every virtual thread waits without a deadline, or has ended
    failed,  // see failure(); the virtual threads are abandoned where they stood
  };
  using Entry = void (*)(void* argument);
  struct Hooks {
    // After each write of an atomic u64 in [watch_begin, watch_end).
    void (*written)(const void* atomic, u64 before, u64 after) = nullptr;
    // Every virtual thread waits, and the next deadline is due to come. May fail().
    void (*before_time_moves)(u64 deadline_ns) = nullptr;
    const void* watch_begin = nullptr;
    const void* watch_end = nullptr;
  };

  void reset(const Tape& schedule, const Tape& faults, const Hooks& hooks, u64 start_ns,
             u64 step_limit) noexcept;
  void set_hooks(const Hooks& hooks) noexcept { hooks_ = hooks; }
  // A new virtual OS thread, ready to run. Only between runs, or from another virtual thread.
  u32 start(Entry entry, void* argument) noexcept;
  // On the caller's own context.
  Outcome run() noexcept;

  // Records the first failure and leaves for run()'s caller; on the caller's own context it only
  // records.
  void fail(const char* invariant, const char* file, int line, const char* what) noexcept;
  const Failure& failure() const noexcept { return failure_; }
  bool failed() const noexcept { return failure_.invariant != nullptr; }
  bool inside() const noexcept { return running_ != kCaller; }

  u32 running() const noexcept { return running_; }
  u64 now_ns() const noexcept { return now_ns_; }
  bool waiting(u32 thread) const noexcept { return threads_[thread].state == State::waiting; }
  bool ended(u32 thread) const noexcept { return threads_[thread].state == State::ended; }
  // True when all others wait or have ended: what the running one sees is no intermediate state.
  bool others_wait() const noexcept { return std::has_single_bit(ready_); }
  u64 earliest_wait_ns() const noexcept;
  u64 deadline_of(u32 thread) const noexcept {
    return waiting(thread) ? threads_[thread].deadline_ns : kNever;
  }

  // A number of the run so far: two runs are the same if these are the same at their ends.
  void mix(u64 value) noexcept {
    trace_ = (trace_ ^ value) * 0x9e3779b97f4a7c15u;
    trace_ ^= trace_ >> 29;
  }
  u64 trace() const noexcept { return trace_; }
  u64 steps() const noexcept { return steps_; }
  u64 switches() const noexcept { return switches_; }
  u8 next_fault() noexcept { return faults_.next(); }

  // ---- what the port is made of ----

  void point() noexcept {
    if (--countdown_ == 0) [[unlikely]]
      reschedule();
  }
  void give_way() noexcept;  // a spin loop: somebody else must run first
  void wait(const void* word, const u32* value, u32 expected, u64 deadline_ns) noexcept;
  void wake(const void* word) noexcept;
  void* current = nullptr;  // P::current() of the running virtual thread

  void written(const void* atomic, u64 before, u64 after) noexcept {
    if (atomic >= hooks_.watch_begin && atomic < hooks_.watch_end)
      hooks_.written(atomic, before, after);
  }

  // No switch while it lives: for a look at the kernel that is not part of the program.
  class Still {
   public:
    explicit Still(World& world) noexcept : world_(world), countdown_(world.countdown_) {
      world_.countdown_ = ~u64{0};
    }
    ~Still() noexcept { world_.countdown_ = countdown_; }
    Still(const Still&) = delete;
    Still& operator=(const Still&) = delete;

   private:
    World& world_;
    u64 countdown_;
  };

 private:
  enum class State : u8 { unused, ready, waiting, ended };
  struct VirtualThread {
    Arch::Context context{};
    Sanitizer::Fiber fiber{};
    Entry entry = nullptr;
    void* argument = nullptr;
    void* current = nullptr;
    const void* word = nullptr;  // waited on
    u64 deadline_ns = kNever;
    State state = State::unused;
    u8 fault = 0;  // of this wait
  };
  static constexpr u32 kCaller = 0;
  static constexpr u64 kFairSlice = 256;  // points, when the schedule is over

  GVT_SWITCHES void switch_to(u32 next) noexcept;
  GVT_SWITCHES void reschedule() noexcept;
  static void main_of_virtual(void*) noexcept;
  void set_slice(u64 points) noexcept;
  u32 ready_after(u32 thread) const noexcept;
  void set_ready(VirtualThread& thread) noexcept;
  void wake_due() noexcept;

  VirtualThread threads_[kMaxVirtual];
  u64 countdown_ = ~u64{0};
  u64 slice_ = 0;
  u64 now_ns_ = 0;
  u64 steps_ = 0;
  u64 step_limit_ = 0;
  u64 switches_ = 0;
  u64 trace_ = 0;
  u32 running_ = kCaller;
  u32 count_ = 1;
  u32 ready_ = 0;  // one bit for each virtual thread that can run, the running one included
  Tape schedule_;
  Tape faults_;
  Hooks hooks_;
  Failure failure_;
};

extern World world;
extern std::byte sim_stacks[kMaxVirtual + kMaxGreenStacks][kStackBytes];

GVT_MODEL_BEGIN

template <class T>
class Atomic {
 public:
  constexpr Atomic() noexcept = default;
  constexpr Atomic(T value) noexcept : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  GVT_NOT_COUNTED T load(std::memory_order) const noexcept {
    world.point();
    return value_;
  }
  GVT_NOT_COUNTED void store(T value, std::memory_order) noexcept {
    world.point();
    put(value);
  }
  GVT_NOT_COUNTED T exchange(T value, std::memory_order) noexcept {
    world.point();
    return put(value);
  }
  GVT_NOT_COUNTED bool compare_exchange_strong(
      T& expected, T desired, std::memory_order,
      std::memory_order = std::memory_order_seq_cst) noexcept {
    world.point();
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    put(desired);
    return true;
  }
  GVT_NOT_COUNTED bool compare_exchange_weak(
      T& expected, T desired, std::memory_order success,
      std::memory_order failure = std::memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, desired, success, failure);
  }
  GVT_NOT_COUNTED T fetch_add(T n, std::memory_order) noexcept {
    world.point();
    return put(static_cast<T>(value_ + n));
  }
  GVT_NOT_COUNTED T fetch_sub(T n, std::memory_order) noexcept {
    world.point();
    return put(static_cast<T>(value_ - n));
  }
  GVT_NOT_COUNTED T fetch_or(T n, std::memory_order) noexcept {
    world.point();
    return put(static_cast<T>(value_ | n));
  }
  GVT_NOT_COUNTED T fetch_and(T n, std::memory_order) noexcept {
    world.point();
    return put(static_cast<T>(value_ & n));
  }

  const T& plain() const noexcept { return value_; }  // no point
  T& plain() noexcept { return value_; }

 private:
  T put(T value) noexcept {
    const T before = value_;
    value_ = value;
    if constexpr (std::is_same_v<T, u64>) world.written(this, before, value);
    return before;
  }

  T value_{};
};

struct Port : Arch, Sanitizer {
  template <class T>
  using Atomic = sim::Atomic<T>;

  static void pause() noexcept { world.give_way(); }
  static void relinquish() noexcept { world.give_way(); }
  GVT_NOT_COUNTED static u64 now_ns() noexcept {
    world.point();
    return world.now_ns();
  }
  GVT_NOT_COUNTED static void wait(Atomic<u32>& word, u32 expected, u64 deadline_ns) noexcept {
    world.wait(&word, &word.plain(), expected, deadline_ns);
  }
  GVT_NOT_COUNTED static void wake(Atomic<u32>& word) noexcept { world.wake(&word); }
  static void* current() noexcept { return world.current; }
  static void set_current(void* worker) noexcept { world.current = worker; }
};

GVT_MODEL_END

// The stacks of green threads. Their lowest bytes hold a mark that tells an overflow afterwards.
class Memory {
 public:
  static constexpr u64 kMark = 0x6776'7468'7265'6164u;

  void reset(u32 slots) noexcept;
  bool marks_intact() const noexcept;
  std::byte* stack(u32 slot) const noexcept { return sim_stacks[kMaxVirtual + slot]; }

  std::byte* top(u32 slot) const noexcept { return stack(slot) + kStackBytes; }
  std::byte* bottom(u32 slot) const noexcept { return stack(slot) + 64; }
  // A stack whose guard was refused holds nothing. INV-GUARD-1
  bool holds(u32 slot, const void* address) const noexcept {
    return slot < prepared_ && address >= bottom(slot) && address < top(slot);
  }
  u32 admit(u32 first, u32 count) noexcept;
  u32 prepare(u32 first, u32 count) noexcept;
  void discard(const u32* slots, u32 count) noexcept;

  u32 admitted() const noexcept { return admitted_; }
  u64 discarded() const noexcept { return discarded_; }

 private:
  u32 slots_ = 0;
  u32 admitted_ = 0;
  u32 prepared_ = 0;
  u64 discarded_ = 0;
};

static_assert(core::Port<Port> && core::StackMemory<Memory>);

}  // namespace gvt::sim
