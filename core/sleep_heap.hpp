// SPDX-License-Identifier: MIT
//
// sleep_heap.hpp - the sleepers of one worker by id, earliest deadline first. Fixed capacity, never
// allocates. Not synchronised: the kernel holds the worker's timer lock. It knows each sleeper's
// place (back index), so a cancel needs no search. Ids in place of pointers: to move an entry
// touches two dense arrays, and no control block. Invariants: INV-HEAP-1 (order and back index),
// INV-HEAP-2 (never full). Tests: tests/unit/sleep_heap_test.cpp. Source: d-ary heap with d = 4,
// Johnson, Inf. Proc. Letters 4(3), 1975: half the levels of a binary one, and the four children of
// 16 bytes share a cache line.
#pragma once

#include "core/types.hpp"

namespace gvt::core {

class SleepHeap {
 public:
  static constexpr u32 kArity = 4;
  static constexpr u32 kNone = ~u32{0};

  struct Entry {
    u64 deadline_ns;
    u32 sleeper;
  };

  static constexpr u64 required_bytes(u32 capacity) noexcept {
    return entry_bytes(capacity) + ((u64{capacity} * sizeof(u32) + 63) & ~u64{63});
  }

  // Holds sleepers 0 .. capacity-1, each at most once. memory: required_bytes(capacity) zero bytes,
  // 64-byte aligned.
  void init(std::byte* memory, u32 capacity) noexcept {
    entries_ = reinterpret_cast<Entry*>(memory) + (kArity - 1);  // siblings begin a cache line
    places_ = reinterpret_cast<u32*>(memory + entry_bytes(capacity));
    capacity_ = capacity;
    count_ = 0;
  }

  u32 count() const noexcept { return count_; }
  bool contains(u32 sleeper) const noexcept { return places_[sleeper] != 0; }

  // The earliest deadline, or kNever. O(1).
  u64 earliest_ns() const noexcept { return count_ == 0 ? kNever : entries_[0].deadline_ns; }

  // O(log n). There are as many entries as threads, and a thread waits once at a time: never full.
  void insert(u32 sleeper, u64 deadline_ns) noexcept {
    GVT_INVARIANT("INV-HEAP-2", count_ < capacity_ && sleeper < capacity_);
    GVT_INVARIANT("INV-HEAP-1", places_[sleeper] == 0);
    sift_up(count_++, {deadline_ns, sleeper});
  }

  // Takes the sleeper out, wherever it is. O(log n).
  void remove(u32 sleeper) noexcept {
    const u32 hole = places_[sleeper] - 1;
    GVT_INVARIANT("INV-HEAP-1", hole < count_ && entries_[hole].sleeper == sleeper);
    places_[sleeper] = 0;
    const Entry last = entries_[--count_];
    if (hole == count_) return;
    if (hole > 0 && last.deadline_ns < entries_[(hole - 1) / kArity].deadline_ns) {
      sift_up(hole, last);
    } else {
      sift_down(hole, last);
    }
  }

  // Takes out a sleeper with the earliest deadline if that is not after now_ns; else kNone. O(log
  // n).
  u32 pop_due(u64 now_ns) noexcept {
    if (count_ == 0 || entries_[0].deadline_ns > now_ns) return kNone;
    const u32 sleeper = entries_[0].sleeper;
    remove(sleeper);
    return sleeper;
  }

  const Entry& entry(u32 index) const noexcept { return entries_[index]; }
  u32 place(u32 sleeper) const noexcept { return places_[sleeper]; }  // 0, or its index + 1

  // True when every entry is in order and every back index is right. O(n), for tests and audits.
  bool check_consistency() const noexcept {
    if (count_ > capacity_) return false;
    for (u32 i = 0; i < count_; ++i) {
      if (entries_[i].sleeper >= capacity_ || places_[entries_[i].sleeper] != i + 1) return false;
      if (i > 0 && entries_[i].deadline_ns < entries_[(i - 1) / kArity].deadline_ns) return false;
    }
    return true;
  }

  // See List::audit(); memory, capacity: those of init(). visit(entry), from the root on.
  template <class Visit>
  const char* audit(const std::byte* memory, u32 capacity, Visit&& visit) const noexcept {
    const void* places = memory + entry_bytes(capacity);
    if (entries_ != reinterpret_cast<const Entry*>(memory) + (kArity - 1) || places_ != places ||
        capacity_ != capacity || count_ > capacity) {
      return "INV-HEAP-2";
    }
    if (!check_consistency()) return "INV-HEAP-1";
    u32 placed = 0;
    for (u32 sleeper = 0; sleeper < capacity; ++sleeper) placed += places_[sleeper] != 0 ? 1 : 0;
    if (placed != count_) return "INV-HEAP-1";
    for (u32 i = 0; i < count_; ++i) {
      if (const char* broken = visit(entries_[i])) return broken;
    }
    return nullptr;
  }

 private:
  static constexpr u64 entry_bytes(u32 capacity) noexcept {
    return ((u64{capacity} + kArity - 1) * sizeof(Entry) + 63) & ~u64{63};
  }

  void put(u32 index, const Entry& entry) noexcept {
    entries_[index] = entry;
    places_[entry.sleeper] = index + 1;
  }

  void sift_up(u32 hole, const Entry entry) noexcept {
    while (hole > 0) {  // at most log4(count) times
      const u32 parent = (hole - 1) / kArity;
      if (entries_[parent].deadline_ns <= entry.deadline_ns) break;
      put(hole, entries_[parent]);
      hole = parent;
    }
    put(hole, entry);
  }

  void sift_down(u32 hole, const Entry entry) noexcept {
    for (;;) {  // at most log4(count) times
      const u64 first = u64{hole} * kArity + 1;
      if (first >= count_) break;
      const u64 end = first + kArity < count_ ? first + kArity : count_;
      u64 least = first;
      for (u64 child = first + 1; child < end; ++child) {
        if (entries_[child].deadline_ns < entries_[least].deadline_ns) least = child;
      }
      if (entry.deadline_ns <= entries_[least].deadline_ns) break;
      put(hole, entries_[least]);
      hole = static_cast<u32>(least);
    }
    put(hole, entry);
  }

  Entry* entries_ = nullptr;
  u32* places_ = nullptr;
  u32 capacity_ = 0;
  u32 count_ = 0;
};

}  // namespace gvt::core
