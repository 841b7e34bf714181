// SPDX-License-Identifier: MIT
//
// slot_pool.hpp - free indexes 0..capacity-1, last released first, from any OS thread.
// A shard per worker keeps recently used (hot) slots; the depot behind them holds the rest: warm
// slots, cold ones (their pages were given back) and, from `fresh` on, those that nobody has used
// yet. Used twice: for control blocks and for stacks. Slots move between shard and depot in
// batches, only with the depot's lock held, so that "none free" is exact. Invariants: INV-SLOT-2
// (free once or owned), INV-SLOT-3 (none free means none free). Lock order: depot, then shards by
// index. Tests: tests/unit/slot_pool_test.cpp. Source: magazines and depot, Bonwick and Adams,
// USENIX 2001.
#pragma once

#include <new>

#include "core/spin_lock.hpp"

namespace gvt::core {

template <class P>
class SlotPool {
 public:
  static constexpr u32 kNone = ~u32{0};
  static constexpr u32 kBatch = 32;             // slots that move at once
  static constexpr u32 kShardMax = 2 * kBatch;  // a full shard gives its older half to the depot

  struct alignas(64) Shard {
    SpinLock<P> lock;
    u32 count GVT_GUARDED_BY(lock) = 0;
    u32 slots[kShardMax] GVT_GUARDED_BY(lock);  // a stack: the hottest on top
  };

  static constexpr u64 required_bytes(u32 shards, u32 capacity) noexcept {
    return u64{shards} * sizeof(Shard) + ((2 * u64{capacity} * sizeof(u32) + 63) & ~u64{63});
  }

  // memory: required_bytes(shards, capacity), 64-byte aligned; need not be cleared. shards: one per
  // worker. warm_max: warm slots the depot keeps; the others lose their pages through `discard`
  // (see release).
  void init(std::byte* memory, u32 shards, u32 capacity,
            u32 warm_max) noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    shards_ = reinterpret_cast<Shard*>(memory);
    shard_count_ = shards;
    capacity_ = capacity;
    warm_max_ = warm_max;
    for (u32 s = 0; s < shards; ++s) new (&shards_[s]) Shard;
    warm_.slots = reinterpret_cast<u32*>(memory + u64{shards} * sizeof(Shard));
    cold_.slots = warm_.slots + capacity;
    warm_.count = cold_.count = 0;
    fresh_ = 0;
  }

  // A free slot, or kNone when every slot is in use. `shard`: the caller's worker, or kNone on a
  // foreign OS thread. `make_fresh(first, count)` is asked, depot lock held, how many of these
  // slots may be used for the first time. O(1) and one uncontended lock in the common case.
  template <class MakeFresh>
  [[gnu::always_inline]] inline u32 acquire(u32 shard, MakeFresh&& make_fresh) noexcept {
    if (shard != kNone) [[likely]] {
      Shard& mine = shards_[shard];
      LockGuard<P> guard(mine.lock);
      if (mine.count > 0) [[likely]]
        return mine.slots[--mine.count];
    }
    return refill(shard, make_fresh);
  }
  u32 acquire(u32 shard) noexcept {
    return acquire(shard, [](u32, u32 count) noexcept { return count; });
  }

  // Gives a slot back. `discard(slots, count)` is called without a lock for warm slots above
  // warm_max.
  template <class Discard>
  [[gnu::always_inline]] inline void release(u32 shard, u32 slot, Discard&& discard) noexcept {
    GVT_INVARIANT("INV-SLOT-2", slot < capacity_);
    if (shard == kNone) [[unlikely]] {
      LockGuard<P> guard(depot_lock_);
      return warm_.push(&slot, 1);
    }
    {
      Shard& mine = shards_[shard];
      LockGuard<P> guard(mine.lock);
      mine.slots[mine.count++] = slot;
      if (mine.count < kShardMax) [[likely]]
        return;
    }
    spill(shard, discard);
  }
  void release(u32 shard, u32 slot) noexcept {
    release(shard, slot, [](const u32*, u32) noexcept {});
  }

  // See List::audit(). memory, shards, capacity, warm_max: those of init(). visit(slot) for each
  // free slot that has been used.
  template <class Visit>
  const char* audit(const std::byte* memory, u32 shards, u32 capacity, u32 warm_max,
                    Visit&& visit) const noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    const void* first = memory;
    const void* depot = memory + u64{shards} * sizeof(Shard);
    bool good = shards_ == first && shard_count_ == shards && capacity_ == capacity &&
                warm_.slots == depot && cold_.slots == warm_.slots + capacity &&
                warm_max_ == warm_max && fresh_ <= capacity;
    if (good && depot_lock_.held()) return "INV-LOCK-1";
    for (u32 s = 0; s < shards && good; ++s) {
      if (shards_[s].lock.held()) return "INV-LOCK-1";
    }
    const char* broken = nullptr;
    good = good && for_each_free([&, used = fresh_](u32 slot) {
             if (broken == nullptr) broken = slot < used ? visit(slot) : "INV-SLOT-2";
           });
    return good ? broken : "INV-SLOT-2";
  }

  // Slots below this have been used. Any OS thread.
  u32 used() noexcept {
    LockGuard<P> guard(depot_lock_);
    return fresh_;
  }

  // Calls f(slot) for each free slot that has been used before; the pool must be held still. False,
  // and early, when a count is impossible. O(free).
  template <class F>
  bool for_each_free(F&& f) const noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    const auto walk = [&](const u32* slots, u32 count, u32 most) {
      if (count > most) return false;
      for (u32 i = 0; i < count; ++i) f(slots[i]);
      return true;
    };
    bool good =
        walk(warm_.slots, warm_.count, capacity_) && walk(cold_.slots, cold_.count, capacity_);
    for (u32 s = 0; s < shard_count_; ++s) {
      good = good && walk(shards_[s].slots, shards_[s].count, kShardMax);
    }
    return good;
  }

 private:
  struct Stack {
    u32* slots = nullptr;
    u32 count = 0;

    void push(const u32* from, u32 n) noexcept {
      for (u32 i = 0; i < n; ++i) slots[count++] = from[i];
    }
    u32 pop(u32* to, u32 n) noexcept {
      if (n > count) n = count;
      count -= n;
      for (u32 i = 0; i < n; ++i) to[i] = slots[count + i];
      return n;
    }
  };

  // From the depot, else from the other shards.
  template <class MakeFresh>
  [[gnu::noinline]] u32 refill(u32 shard, MakeFresh& make_fresh) noexcept {
    LockGuard<P> guard(depot_lock_);
    u32 batch[kBatch];
    const u32 wanted = shard == kNone ? 1 : kBatch;
    u32 count = warm_.pop(batch, wanted);
    if (count == 0) count = cold_.pop(batch, wanted);
    if (count == 0 && fresh_ < capacity_) {
      count = capacity_ - fresh_ < wanted ? capacity_ - fresh_ : wanted;
      count = make_fresh(fresh_, count);
      for (u32 i = 0; i < count; ++i)
        batch[i] = fresh_ + count - 1 - i;  // the lowest comes out first
      fresh_ += count;
    }
    if (count == 0) return take_from_shards();
    if (count > 1) {
      LockGuard<P> shard_guard(shards_[shard].lock);
      // Empty a moment ago; only its owner adds, and that is the caller.
      for (u32 i = 0; i + 1 < count; ++i) shards_[shard].slots[shards_[shard].count++] = batch[i];
    }
    return batch[count - 1];
  }

  // The depot is empty: look at all shards at one moment, so that kNone means that none was free.
  // [INV-SLOT-3]
  u32 take_from_shards() noexcept GVT_REQUIRES(depot_lock_) GVT_NO_THREAD_SAFETY_ANALYSIS {
    u32 slot = kNone;
    for (u32 s = 0; s < shard_count_; ++s) shards_[s].lock.lock();
    for (u32 s = 0; s < shard_count_ && slot == kNone; ++s) {
      if (shards_[s].count > 0) slot = shards_[s].slots[--shards_[s].count];
    }
    for (u32 s = shard_count_; s > 0; --s) shards_[s - 1].lock.unlock();
    return slot;
  }

  template <class Discard>
  [[gnu::noinline]] void spill(u32 shard, Discard& discard) noexcept {
    u32 batch[kBatch];
    {
      LockGuard<P> guard(depot_lock_);
      Shard& mine = shards_[shard];
      LockGuard<P> shard_guard(mine.lock);
      if (mine.count < kShardMax) return;  // another worker has just taken one
      for (u32 i = 0; i < kBatch; ++i) batch[i] = mine.slots[i];
      for (u32 i = kBatch; i < kShardMax; ++i) mine.slots[i - kBatch] = mine.slots[i];
      mine.count -= kBatch;
      if (warm_.count + kBatch <= warm_max_) return warm_.push(batch, kBatch);
    }
    // Without pages a slot is as good as fresh. While they go, the batch is nobody's: an acquire
    // that finds nothing else fails for control blocks, which never come here (warm_max = all), and
    // is retried for stacks.
    discard(batch, kBatch);
    LockGuard<P> guard(depot_lock_);
    cold_.push(batch, kBatch);
  }

  Shard* shards_ = nullptr;
  u32 shard_count_ = 0;
  u32 capacity_ = 0;
  u32 warm_max_ = 0;
  alignas(64) SpinLock<P> depot_lock_;
  Stack warm_ GVT_GUARDED_BY(depot_lock_);
  Stack cold_ GVT_GUARDED_BY(depot_lock_);
  u32 fresh_ GVT_GUARDED_BY(depot_lock_) = 0;
};

}  // namespace gvt::core
