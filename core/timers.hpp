// SPDX-License-Identifier: MIT
//
// timers.hpp - the sleepers of all workers: a heap per worker, and which idle worker waits for the
// earliest of all. A worker inserts into its own heap; any worker may expire any heap, so a sleeper
// does not depend on one worker. There is no tick: one idle worker, the keeper, waits in the kernel
// until the earliest deadline. Invariants: INV-TMR-1 (never early), INV-TMR-2 (an idle worker is
// armed for the earliest deadline, or a worker that will look again is awake), INV-TMR-3 (a
// time-out meets only the wait that armed it). Tests: tests/unit/timers_test.cpp.
//
// INV-TMR-3. A thread is in a heap only between the preparation of a wait and its own disarm()
// after it, and a time-out takes effect under the heap's lock. So a late timer never meets a later
// wait: either disarm() finds the thread in the heap and takes it out, or the time-out is over.
#pragma once

#include <new>

#include "core/list.hpp"
#include "core/sleep_heap.hpp"
#include "core/thread.hpp"

namespace gvt::core {

template <class P>
class Timers {
 public:
  using Sleeper = Thread<P>;

  static constexpr u64 required_bytes(u32 workers, u32 capacity) noexcept {
    return u64{workers} * (sizeof(PerWorker) + SleepHeap::required_bytes(capacity));
  }

  // memory: required_bytes() zero bytes, 64-byte aligned. threads: all control blocks, indexed by
  // id.
  void init(std::byte* memory, Sleeper* threads, u32 workers,
            u32 capacity) noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    per_worker_ = reinterpret_cast<PerWorker*>(memory);
    threads_ = threads;
    workers_ = workers;
    std::byte* heaps = memory + u64{workers} * sizeof(PerWorker);
    for (u32 w = 0; w < workers; ++w) {
      new (&per_worker_[w]) PerWorker{};
      per_worker_[w].heap.init(heaps + u64{w} * SleepHeap::required_bytes(capacity), capacity);
    }
    keeper_ = kNobody;
    armed_ns_ = kNever;
  }

  // The caller's thread, already Parking, sleeps in the caller's heap. True if it is now the
  // earliest there.
  bool arm(u32 worker, Sleeper& thread, u64 deadline_ns) noexcept {
    PerWorker& mine = per_worker_[worker];
    LockGuard<P> guard(mine.lock);
    thread.heap_worker = static_cast<u8>(worker);
    mine.heap.insert(thread.id, deadline_ns);
    return mine.publish_earliest();
  }

  // The thread's wait is over, whatever ended it. On the thread itself; O(log n).
  void disarm(Sleeper& thread) noexcept {
    PerWorker& its = per_worker_[thread.heap_worker];
    LockGuard<P> guard(its.lock);
    if (!its.heap.contains(thread.id)) return;  // it has expired
    its.heap.remove(thread.id);
    its.publish_earliest();
  }

  // Ends the waits of up to kExpireBatch due sleepers of one heap; those that are to be enqueued
  // are added to `ready`. True if there may be more.
  bool expire(u32 worker, u64 now_ns, List<Sleeper>& ready) noexcept {
    PerWorker& its = per_worker_[worker];
    LockGuard<P> guard(its.lock);
    u32 due[kExpireBatch];
    u32 expired = 0;
    for (; expired < kExpireBatch; ++expired) {
      due[expired] = its.heap.pop_due(now_ns);  // INV-TMR-1
      if (due[expired] == SleepHeap::kNone) break;
      __builtin_prefetch(&threads_[due[expired]], 1);  // long unused, and needed in a moment
    }
    for (u32 i = 0; i < expired; ++i) {
      Sleeper& thread = threads_[due[i]];
      if (take_step(thread, step_timeout)) ready.push_back(thread);
    }
    its.publish_earliest();
    return expired == kExpireBatch;
  }

  u64 earliest_ns(u32 worker) const noexcept {
    // ORD-TMR-1: acquire, pairs with the release in publish_earliest(). It may lag behind a busy
    // worker's own insertion; that worker then finds the keeper armed too late (needs_keeper) and
    // wakes somebody to look again.
    return per_worker_[worker].earliest_ns.load(std::memory_order_acquire);
  }

  u64 earliest_ns() const noexcept {
    u64 earliest = kNever;
    for (u32 w = 0; w < workers_; ++w) {
      const u64 its = earliest_ns(w);
      if (its < earliest) earliest = its;
    }
    return earliest;
  }

  // An announced idle worker becomes the keeper, if nobody waits for the earliest deadline yet.
  // Returns until when it shall wait: that deadline, or kNever when another keeps it. [INV-TMR-2]
  u64 keep(u32 worker) noexcept {
    LockGuard<P> guard(keeper_lock_);
    const u64 earliest = earliest_ns();
    if (earliest >= armed_ns_) return kNever;
    keeper_ = worker;
    armed_ns_ = earliest;
    return earliest;
  }

  // The worker is awake again.
  void unkeep(u32 worker) noexcept {
    LockGuard<P> guard(keeper_lock_);
    if (keeper_ != worker) return;  // never was, or another keeps an earlier deadline now
    keeper_ = kNobody;
    armed_ns_ = kNever;
  }

  // True when no idle worker waits for the earliest deadline.
  bool needs_keeper() noexcept {
    LockGuard<P> guard(keeper_lock_);
    return earliest_ns() < armed_ns_;
  }

  // See List::audit(). memory, threads, workers, capacity: those of init(). visit(worker, entry).
  template <class Visit>
  const char* audit(const std::byte* memory, const Sleeper* threads, u32 workers, u32 capacity,
                    Visit&& visit) const noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    const void* per_worker = memory;
    if (per_worker_ != per_worker || threads_ != threads || workers_ != workers)
      return "INV-HEAP-2";
    if (keeper_lock_.held()) return "INV-LOCK-1";
    if ((keeper_ == kNobody) != (armed_ns_ == kNever)) return "INV-TMR-2";
    if (keeper_ != kNobody && keeper_ >= workers) return "INV-TMR-2";
    const std::byte* heaps = memory + u64{workers} * sizeof(PerWorker);
    for (u32 w = 0; w < workers; ++w) {
      const PerWorker& its = per_worker_[w];
      if (its.lock.held()) return "INV-LOCK-1";
      const char* broken =
          its.heap.audit(heaps + u64{w} * SleepHeap::required_bytes(capacity), capacity,
                         [&](const SleepHeap::Entry& entry) { return visit(w, entry); });
      if (broken != nullptr) return broken;
      if (earliest_ns(w) != its.heap.earliest_ns()) return "INV-TMR-2";
    }
    return nullptr;
  }

 private:
  static constexpr u32 kNobody = ~u32{0};
  static constexpr u32 kExpireBatch = 64;  // bounds how long the lock is held

  struct alignas(64) PerWorker {
    SpinLock<P> lock;
    SleepHeap heap GVT_GUARDED_BY(lock);
    typename P::template Atomic<u64> earliest_ns{kNever};

    // True if the earliest deadline has come nearer.
    bool publish_earliest() noexcept GVT_REQUIRES(lock) {
      const u64 before =
          earliest_ns.load(std::memory_order_relaxed);  // only written under the lock
      const u64 after = heap.earliest_ns();
      if (after != before) earliest_ns.store(after, std::memory_order_release);  // ORD-TMR-1
      return after < before;
    }
  };

  PerWorker* per_worker_ = nullptr;
  Sleeper* threads_ = nullptr;
  u32 workers_ = 0;
  alignas(64) SpinLock<P> keeper_lock_;
  u32 keeper_ GVT_GUARDED_BY(keeper_lock_) = kNobody;
  u64 armed_ns_ GVT_GUARDED_BY(keeper_lock_) = kNever;
};

}  // namespace gvt::core
