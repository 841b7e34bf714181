// SPDX-License-Identifier: MIT
//
// heap.hpp - core/sleep_heap.hpp beside a std::multimap. Which of two sleepers with one deadline
// comes first is not promised; that the deadline is the least one is.
// Invariants: INV-HEAP-1, INV-HEAP-2, INV-TMR-1.
#pragma once

#include <array>
#include <cstring>
#include <map>

#include "core/sleep_heap.hpp"
#include "model/containers/program.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

class HeapRig {
 public:
  static constexpr const char* kName = "heap";
  static constexpr const char* kSetup[] = {"capacity", "-", "-", "-"};
  static constexpr const char* kOps[] = {"insert",      "remove",      "pop_due",
                                         "insert_many", "pop_all_due", "corrupt"};

  void start(const Program& program, Checker&) {
    static constexpr u32 kCapacities[] = {1, 2, 3, 4, 5, 6, 21, kNodes};
    capacity_ = kCapacities[program.setup(0) % std::size(kCapacities)];
    std::memset(memory_, 0, core::SleepHeap::required_bytes(capacity_));
    heap_.init(memory_, capacity_);
    reference_.clear();
    steps_ = 0;
    for (u32 i = 0; i < capacity_; ++i) where_[i] = reference_.end();
  }

  void step(Op op, Checker& check) {
    switch (op.code % std::size(kOps)) {
      case 0: insert(op.a % capacity_, deadline(op.b)); break;
      case 1: remove(op.a % capacity_); break;
      case 2: pop_due(deadline(op.b), check); break;
      case 3: {
        // Deadlines that rise, fall or jump about, by the low bits of b.
        static constexpr u8 kStrides[] = {1, 255, 0, 37};
        u8 raw = op.a;
        for (u32 n = op.b >> 2, id = 0; n > 0 && id < capacity_; ++id) {
          if (where_[id] != reference_.end()) continue;
          insert(id, deadline(raw));
          raw = static_cast<u8>(raw + kStrides[op.b & 3]);
          --n;
        }
        break;
      }
      case 4: {
        while (check.ok() && pop_due(deadline(op.b), check)) {
        }
        break;
      }
      case 5: corrupt(op.a, op.b, check); break;
    }
    look(check);
    if (capacity_ <= 6 || ++steps_ % 8 == 0) look_closely(check);
  }

  void finish(Checker& check) {
    look_closely(check);
    for (u32 id = 0; id < capacity_ && check.ok(); id += 3) remove(id);  // some from the middle
    look_closely(check);
    while (check.ok() && pop_due(kNever, check)) {
    }
    look(check);
  }

 private:
  static constexpr u32 kNodes = 64;
  using Reference = std::multimap<u64, u32>;

  // Mostly small and often equal; at the top the ends of the range.
  static u64 deadline(u8 raw) noexcept {
    switch (raw) {
      case 255: return kNever;
      case 254: return kNever - 1;
      case 253: return u64{1} << 63;
      case 252: return (u64{1} << 63) - 1;
      default: return raw;
    }
  }

  void insert(u32 id, u64 at) {
    if (where_[id] != reference_.end()) return;  // a thread waits once at a time
    really([&] { heap_.insert(id, at); });
    where_[id] = reference_.emplace(at, id);
  }

  void remove(u32 id) {
    if (where_[id] == reference_.end()) return;
    really([&] { heap_.remove(id); });
    reference_.erase(where_[id]);
    where_[id] = reference_.end();
  }

  bool pop_due(u64 now, Checker& check) {
    const u32 id = really([&] { return heap_.pop_due(now); });
    const bool due = !reference_.empty() && reference_.begin()->first <= now;
    const bool popped = id != core::SleepHeap::kNone;
    if (!check.same("INV-TMR-1", "pop_due finds a due sleeper", popped, due)) return false;
    if (!popped) return false;
    if (!check.that("INV-HEAP-1", "pop_due gave a sleeper that is not in the heap",
                    id < capacity_ && where_[id] != reference_.end())) {
      return false;
    }
    check.same("INV-TMR-1", "the popped deadline", where_[id]->first, reference_.begin()->first);
    check.that("INV-HEAP-1", "the heap still contains what it gave", !heap_.contains(id));
    reference_.erase(where_[id]);
    where_[id] = reference_.end();
    return true;
  }

  // A damaged heap is noticed; then the damage is undone.
  void corrupt(u32 which, u32 how, Checker& check) {
    if (heap_.count() == 0) return;
    auto& entry = const_cast<core::SleepHeap::Entry&>(heap_.entry(which % heap_.count()));
    const core::SleepHeap::Entry before = entry;
    switch (how % 3) {
      case 0: entry.sleeper = capacity_ + how / 3; break;                        // nobody
      case 1: entry.sleeper = (entry.sleeper + 1 + how / 3) % capacity_; break;  // perhaps another
      case 2: {
        if (which % heap_.count() == 0) return;
        if (heap_.entry((which % heap_.count() - 1) / 4).deadline_ns == 0) return;
        entry.deadline_ns = heap_.entry((which % heap_.count() - 1) / 4).deadline_ns - 1;
        break;
      }
    }
    if (entry.sleeper != before.sleeper || entry.deadline_ns != before.deadline_ns) {
      check.that("INV-HEAP-1", "an entry is damaged, and check_consistency finds nothing",
                 really([&] { return !heap_.check_consistency(); }));
    }
    entry = before;
  }

  void look(Checker& check) {
    check.same("INV-HEAP-2", "count", heap_.count(), reference_.size());
    check.same("INV-TMR-1", "earliest_ns", heap_.earliest_ns(),
               reference_.empty() ? kNever : reference_.begin()->first);
  }

  // Takes time in proportion to the heap. Written without core's own check_consistency(), which is
  // then compared.
  void look_closely(Checker& check) {
    for (u32 i = 0; i < heap_.count() && check.ok(); ++i) {
      const auto& entry = heap_.entry(i);
      if (!check.that("INV-HEAP-1", "an entry that nobody inserted",
                      entry.sleeper < capacity_ && where_[entry.sleeper] != reference_.end())) {
        return;
      }
      check.same("INV-HEAP-1", "back index", heap_.place(entry.sleeper), i + 1);
      check.same("INV-HEAP-1", "an entry's deadline", entry.deadline_ns,
                 where_[entry.sleeper]->first);
      if (i > 0) {
        check.that("INV-HEAP-1", "a parent after its child",
                   heap_.entry((i - 1) / 4).deadline_ns <= entry.deadline_ns);
      }
    }
    for (u32 id = 0; id < capacity_ && check.ok(); ++id) {
      check.same("INV-HEAP-1", "contains", heap_.contains(id), where_[id] != reference_.end());
    }
    check.that("INV-HEAP-1", "check_consistency",
               really([&] { return heap_.check_consistency(); }));
  }

  alignas(64) std::byte memory_[core::SleepHeap::required_bytes(kNodes)];
  core::SleepHeap heap_;
  Reference reference_;
  std::array<Reference::iterator, kNodes> where_;
  u32 capacity_ = 0;
  u32 steps_ = 0;
};

GVT_MODEL_END

}  // namespace gvt::model
