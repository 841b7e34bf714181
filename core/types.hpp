// SPDX-License-Identifier: MIT
//
// types.hpp - names shared by everything: integers, handles, error codes, Result.
// core/ may include core/ and <atomic> <bit> <compare> <concepts> <cstddef> <cstdint> <limits>
// <new> <type_traits> <utility>, nothing else; ci/freestanding checks it. Tests:
// tests/unit/types_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/check.hpp"

namespace gvt {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using usize = std::size_t;

// A deadline that never comes. All deadlines are absolute nanoseconds of the port's monotonic
// clock.
inline constexpr u64 kNever = ~u64{0};

// What a caller can cause. A broken invariant of the runtime itself is not here: that panics.
enum class Error : u8 {
  ok = 0,
  no_slot,          // every thread slot is in use; wait for a thread to end, or raise max_threads
  stale,            // the handle's thread has ended, or the handle was never issued
  timed_out,        // the deadline passed first
  cancelled,        // the calling thread was cancelled, or the runtime was stopped
  stopped,          // the runtime no longer takes new threads
  deadlock,         // a thread would wait for itself
  wrong_context,    // needs a green thread (or needs not to be on one)
  bad_config,       // a configuration field is out of range; see ConfigError
  no_memory,        // the system refused the reservation
  map_limit,        // more guard pages than the kernel maps (vm.max_map_count)
  thread_start,     // the system refused a worker's OS thread
  not_started,      // the runtime was not started, or has been shut down
  already_started,  // the runtime is running
};

// The error's name as it is written in code; static storage, never null.
const char* error_name(Error error) noexcept;

// A value or an Error. T is small and trivially copyable.
template <class T>
class [[nodiscard]] Result {
 public:
  constexpr Result(T value) noexcept : value_(value) {}
  constexpr Result(Error error) noexcept : error_(error) { GVT_ASSERT(error != Error::ok); }

  constexpr bool ok() const noexcept { return error_ == Error::ok; }
  constexpr explicit operator bool() const noexcept { return ok(); }
  constexpr Error error() const noexcept { return error_; }
  constexpr T value() const noexcept {
    GVT_ASSERT(ok());
    return value_;
  }

 private:
  T value_{};
  Error error_ = Error::ok;
};

// Names one life of one thread. The id is reused after the thread has ended, the pair is not (until
// the 32-bit generation of that id has wrapped). A default handle names no thread: generation 0 is
// never issued.
struct Handle {
  u32 id = 0;
  u32 generation = 0;

  friend constexpr bool operator==(const Handle&, const Handle&) noexcept = default;
  constexpr explicit operator bool() const noexcept { return generation != 0; }
};

}  // namespace gvt
