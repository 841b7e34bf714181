// SPDX-License-Identifier: MIT
//
// gvthread.hpp - all that a program includes: green threads over a few OS threads.
//
//   gvt::Runtime runtime;
//   const gvt::Status status = runtime.start({.workers = 2});
//   if (!status.ok()) return status.print(), 2;
//   const auto thread = runtime.spawn([] { (void)gvt::sleep_for(std::chrono::milliseconds(10)); });
//   if (!thread.ok() || runtime.run() != gvt::Error::ok) return 1;
//
// Rules for code on green threads: a call that blocks the OS thread blocks its worker; errno, and
// the address of any thread_local, are not kept across a call of this library that may switch
// (yield, park, sleep, join).
#pragma once

#include <chrono>
#include <cstddef>
#include <new>
#include <ratio>
#include <type_traits>
#include <utility>

#include "core/config.hpp"
#include "core/types.hpp"
#include "gvthread/calls.hpp"

namespace gvt {

// A moment at which a wait gives up, on the monotonic clock. Implicit from a time point or a
// duration from now.
class Deadline {
 public:
  constexpr Deadline() noexcept = default;  // never
  constexpr explicit Deadline(u64 absolute_ns) noexcept : ns_(absolute_ns) {}
  Deadline(std::chrono::steady_clock::time_point when) noexcept
      : Deadline(
            absolute(std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch())
                         .count())) {}
  template <class Rep, class Period>
  Deadline(std::chrono::duration<Rep, Period> from_now) noexcept : Deadline(after(from_now)) {}

  static constexpr Deadline never() noexcept { return {}; }
  constexpr u64 ns() const noexcept { return ns_; }

 private:
  // steady_clock counts CLOCK_MONOTONIC nanoseconds in libstdc++ and libc++ on Linux; a test checks
  // it.
  static Deadline absolute(long long ns) noexcept {
    return Deadline(ns < 0 ? 0 : static_cast<u64>(ns));
  }
  template <class Rep, class Period>
  static Deadline after(std::chrono::duration<Rep, Period> d) noexcept;

  u64 ns_ = kNever;
};

// The most a callable given to spawn may hold; it is kept in the thread's control block, nothing is
// allocated.
inline constexpr std::size_t kMaxCallableBytes = 48;
inline constexpr std::size_t kMaxCallableAlign = 16;

// How start() went.
struct [[nodiscard]] Status {
  Error error = Error::ok;
  ConfigError field{};  // with bad_config and map_limit: which field, its value and bounds
  int os_errno = 0;     // of the call that the system refused
  u64 limit = 0;        // with map_limit: the most max_threads that would do here

  bool ok() const noexcept { return error == Error::ok; }
  // One line without its end, cut to the buffer; returns its length. `source` says where the
  // configuration came from.
  std::size_t message(char* buffer, std::size_t size, const char* source = "config") const noexcept;
  void print(const char* source = "config") const noexcept;  // the line, on stderr
};

// What a runtime has counted since its start. Sums over all workers; each number is right for some
// moment during the call.
struct Stats {
  u64 spawned, started, ended, yields, switches, parks, timeouts, steals, sleeps, wakeups;
};

// One set of workers and their threads. Several may live in one process. Not movable.
class Runtime {
 public:
  Runtime() noexcept = default;
  // Stops and runs until all threads have ended; never leaves a thread behind. On a green thread:
  // panics (INV-RUN-1).
  ~Runtime() noexcept;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Reserves all memory and starts the workers' OS threads; nothing is allocated afterwards.
  // Workers begin to run threads as soon as some are spawned; worker 0 is whoever calls run(),
  // unless config.caller_is_worker is false. Errors: bad_config, no_memory, map_limit,
  // thread_start, already_started. After an error nothing is left behind.
  Status start(const Config& config = {}) noexcept;

  // Runs until every thread has ended (also those spawned meanwhile). The caller's OS thread is
  // worker 0 for as long; with caller_is_worker = false it just waits. May be called again. Not on
  // a green thread. Errors: not_started, wrong_context, already_started (another OS thread is
  // worker 0).
  Error run() noexcept;

  // No new threads; every wait, present and later, ends with Error::cancelled. run() returns when
  // the threads have ended. Any OS thread, any number of times. Errors: not_started.
  Error stop() noexcept;

  // Stops, runs until all threads have ended, ends the workers and gives all memory back; start()
  // may follow. If another OS thread is in run(), waits until it has left; every other call of this
  // object must have returned. Errors: not_started, wrong_context.
  Error shutdown() noexcept;

  // A new thread that calls f() once. f is moved or copied into the thread's control block: at most
  // kMaxCallableBytes, else this does not compile. name: at most 31 characters are kept; null:
  // none. An exception that leaves f ends the program. Any OS thread, any green thread. Errors:
  // no_slot, map_limit, stopped, not_started. Cost: O(1), no allocation; a system call only if a
  // sleeping worker must be woken. What the caller wrote before is visible to f.
  template <class F>
  Result<Handle> spawn(F&& f, const char* name = nullptr) noexcept(
      std::is_nothrow_constructible_v<std::decay_t<F>, F>);

  // Gives the thread its permit: its present or next park() returns. At most one permit is kept.
  // What the caller wrote before is visible after that park(). Any OS thread, any green thread.
  // Errors: stale, not_started. O(1).
  Error unpark(Handle thread) noexcept;

  // Ends the thread's present wait and each later one with Error::cancelled; see
  // this_thread::cancelled(). Sticky. Any OS thread, any green thread. Errors: stale, not_started.
  // O(1).
  Error cancel(Handle thread) noexcept;

  // Returns when the thread has ended; ok also if it had before. On a green thread only that one
  // waits. Any other OS thread blocks; if it is the one that shall run() the workers, it waits for
  // itself. What the thread wrote is visible after ok. Errors: timed_out, cancelled, stale (no such
  // thread was ever spawned), deadlock (itself), not_started.
  Error join(Handle thread, Deadline deadline = {}) noexcept;

  Stats stats() const noexcept;
  // Which guard pages are in use (never `automatic`), and the configuration; valid while started.
  GuardMode guards() const noexcept;
  const Config& config() const noexcept;
  bool started() const noexcept { return state_ != nullptr; }

  struct State;  // the library's own

 private:
  State* state_ = nullptr;
  void* kernel_ = nullptr;  // in *state_
};

// On green threads, for the runtime that runs them. Outside of one: wrong_context.
template <class F>
Result<Handle> spawn(F&& f, const char* name = nullptr) noexcept(
    std::is_nothrow_constructible_v<std::decay_t<F>, F>);
Error unpark(Handle thread) noexcept;                                // as Runtime::unpark
Error cancel(Handle thread) noexcept;                                // as Runtime::cancel
inline Error join(Handle thread, Deadline deadline = {}) noexcept {  // as Runtime::join
  return detail::join_until(thread, deadline.ns());
}

// Lets the next ready thread of this worker run; returns at once if there is none. Outside of a
// green thread: sched_yield.
void yield() noexcept;

// Waits for this thread's permit and takes it. Errors: timed_out, cancelled, wrong_context. Never
// returns without reason.
inline Error park(Deadline deadline = {}) noexcept { return detail::park_until(deadline.ns()); }

// Waits until the moment, never less; a moment in the past, or a duration that is not positive,
// lets other threads run. Errors: cancelled, wrong_context.
inline Error sleep_until(Deadline when) noexcept { return detail::sleep_until(when.ns()); }
template <class Rep, class Period>
Error sleep_for(std::chrono::duration<Rep, Period> d) noexcept {
  return sleep_until(Deadline(d));
}

namespace this_thread {
Handle id() noexcept;         // a false handle outside of a green thread
const char* name() noexcept;  // "" if it has none; valid until the name changes or the thread ends
void set_name(const char* name) noexcept;  // at most 31 characters are kept; null or "": none
bool cancelled() noexcept;  // cancel() was called for this thread, or stop() for its runtime
}  // namespace this_thread

const char* guard_mode_name(GuardMode mode) noexcept;
const char* queue_kind_name(QueueKind kind) noexcept;

// ---- implementation of the templates ----

u64 now_ns() noexcept;  // the clock of all deadlines

template <class Rep, class Period>
Deadline Deadline::after(std::chrono::duration<Rep, Period> d) noexcept {
  if (d <= d.zero()) return Deadline(now_ns());
  const u64 now = now_ns();
  if constexpr (std::is_floating_point_v<Rep>) {
    const long double ns = std::chrono::duration<long double, std::nano>(d).count();
    return ns < static_cast<long double>(kNever - now) ? Deadline(now + static_cast<u64>(ns))
                                                       : never();
  } else {
    using Wide = unsigned __int128;  // 64 bits of count and the ratio to nanoseconds
    const Wide ns = static_cast<Wide>(d.count()) * Period::num * std::nano::den / Period::den;
    return ns < kNever - now ? Deadline(now + static_cast<u64>(ns)) : never();
  }
}

namespace detail {

template <class F>
Result<Handle> spawn_on(void* kernel, F&& f, const char* name) {
  using Callable = std::decay_t<F>;
  static_assert(std::is_invocable_v<Callable&>,
                "gvt::spawn: the callable must be callable without arguments");
  static_assert(sizeof(Callable) <= kMaxCallableBytes,
                "gvt::spawn: the callable holds more than kMaxCallableBytes (48); capture a "
                "pointer to the data instead");
  static_assert(alignof(Callable) <= kMaxCallableAlign,
                "gvt::spawn: the callable's alignment is above 16");
  const Reserved slot = reserve(kernel);
  if (slot.callable == nullptr) return slot.error;
  if constexpr (std::is_nothrow_constructible_v<Callable, F>) {
    new (slot.callable) Callable(std::forward<F>(f));
  } else {
    struct Guard {
      const Reserved* slot;
      ~Guard() {
        if (slot != nullptr) abandon(*slot);
      }
    } guard{&slot};
    new (slot.callable) Callable(std::forward<F>(f));
    guard.slot = nullptr;
  }
  const auto invoke = [](void* callable) noexcept {
    auto* c = static_cast<Callable*>(callable);
    (void)(*c)();
    c->~Callable();
  };
  return publish(slot, invoke, name);
}

}  // namespace detail

template <class F>
Result<Handle> Runtime::spawn(F&& f, const char* name) noexcept(
    std::is_nothrow_constructible_v<std::decay_t<F>, F>) {
  if (state_ == nullptr) return Error::not_started;
  return detail::spawn_on(kernel_, std::forward<F>(f), name);
}

template <class F>
Result<Handle> spawn(F&& f, const char* name) noexcept(
    std::is_nothrow_constructible_v<std::decay_t<F>, F>) {
  return detail::spawn_on(nullptr, std::forward<F>(f), name);
}

}  // namespace gvt
