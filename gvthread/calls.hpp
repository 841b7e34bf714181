// SPDX-License-Identifier: MIT
//
// calls.hpp - the calls between the public header and the kernel's object: plain types, so that
// both sides may include it.
#pragma once

#include "core/types.hpp"

namespace gvt {

void yield() noexcept;
Error unpark(Handle thread) noexcept;
Error cancel(Handle thread) noexcept;

namespace detail {

Error park_until(u64 deadline_ns) noexcept;
Error sleep_until(u64 deadline_ns) noexcept;
Error join_until(Handle thread, u64 deadline_ns) noexcept;

// A thread that is being spawned: its callable is built in place, then it is published, or given
// back.
struct Reserved {
  void* kernel;
  void* callable;  // null: see error
  Error error;
};
Reserved reserve(void* kernel) noexcept;  // null: the calling green thread's
Handle publish(const Reserved& slot, void (*invoke)(void*) noexcept, const char* name) noexcept;
void abandon(const Reserved& slot) noexcept;

}  // namespace detail
}  // namespace gvt
