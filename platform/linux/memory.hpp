// SPDX-License-Identifier: MIT
//
// memory.hpp - one reservation per runtime: the kernel's arrays, then the stack slots.
//
//   slot:  | guard page | stack of slot_bytes, grows down from the slot's end |
//          base         base + 4096                     base + 4096 + slot_bytes
//
// So slots follow each other at an odd number of pages. At a power of two the pages in use, one or
// two below each slot's end, would share a few sets of the TLB: with 1 000 threads in slots of
// 64 KiB that cost 2 of 14 ns per yield here, and 15 of 24 ns in a ring of bare contexts.
// Pages are touched when they are used. Guards: MADV_GUARD_INSTALL (Linux 6.13) leaves the
// reservation one mapping; mprotect makes it two per slot, so the kernel's limit on mappings bounds
// the threads. Invariants: INV-GUARD-1 (a stack that runs has its guard). Tests:
// tests/unit/memory_test.cpp. Source: madvise(2), process_madvise(2), mprotect(2), proc(5) for
// vm.max_map_count.
#pragma once

#include <atomic>

#include "core/config.hpp"

namespace gvt::platform_linux {

struct MapError {
  Error error = Error::ok;
  int os_errno = 0;
  u64 limit = 0;  // with map_limit: the most threads that would do
};

class Memory {
 public:
  Memory() noexcept = default;
  Memory(Memory&& from) noexcept { *this = static_cast<Memory&&>(from); }
  Memory& operator=(
      Memory&& from) noexcept;  // before and after use only: no other OS thread may use either

  // Reserves `kernel_bytes` and max_threads slots, and chooses how guards are made. Nothing is left
  // behind on an error: no_memory (the system refused the address space), map_limit (guards are
  // refused, or too many for the kernel).
  MapError map(const Config& config, u64 kernel_bytes) noexcept;
  void unmap() noexcept;

  std::byte* kernel_memory() const noexcept { return base_; }
  GuardMode guards() const noexcept { return mode_; }

  // StackMemory, see core/port.hpp.
  std::byte* top(u32 slot) const noexcept { return stacks_ + (u64{slot} + 1) * stride_bytes_; }
  [[gnu::always_inline]] inline bool holds(u32 slot, const void* address) const noexcept {
    return static_cast<u64>(static_cast<const std::byte*>(address) - bottom(slot)) <
           stride_bytes_ - kPageBytes;
  }
  std::byte* bottom(u32 slot) const noexcept {
    return stacks_ + u64{slot} * stride_bytes_ + kPageBytes;
  }
  u32 admit(u32 first, u32 count) noexcept;
  u32 prepare(u32 first, u32 count) noexcept;
  void discard(const u32* slots, u32 count) noexcept;

  // The slot whose guard page holds the address, or ~0.
  u32 guard_at(const void* address) const noexcept;

 private:
  bool install_guards(u32 end) noexcept;

  std::byte* base_ = nullptr;
  std::byte* stacks_ = nullptr;
  u64 total_bytes_ = 0;
  u64 stride_bytes_ = 0;  // from slot to slot: slot_bytes and the guard
  u32 slots_ = 0;
  GuardMode mode_ = GuardMode::none;
  // Slots below this have their guard. Grows under the depot lock of the pool that asks: the
  // control blocks' in mprotect mode (and the stacks' pool reads it), the stacks' in madvise mode.
  std::atomic<u32> guarded_{0};
};

}  // namespace gvt::platform_linux
