// SPDX-License-Identifier: MIT
//
// simple_ready_queue.hpp - the ready queue with a SpinLock around each list: the plain one, to
// compare others with. Contract and invariants: core/ready_queue.hpp. No two local locks are held
// at once: stolen threads move through a batch. Tests: tests/unit/ready_queue_test.cpp. Model:
// model/spec.hpp. Source: steal-half after Hendler and Shavit, PODC 2002.
#pragma once

#include <new>

#include "core/global_queue.hpp"
#include "core/ready_queue.hpp"

namespace gvt::core {

template <class P, class T, u32 kLocalCapacity = 256>
class SimpleReadyQueue {
  static_assert(kLocalCapacity >= 2, "half of a full local queue must be at least one thread");

 public:
  static constexpr u64 required_bytes(u32 workers, u32 max_threads) noexcept {
    return u64{workers} * sizeof(Local) + GlobalQueue<P, T>::required_bytes(max_threads);
  }

  void init(void* memory, u32 workers, u32 max_threads, QueueKind) noexcept {
    locals_ = static_cast<Local*>(memory);
    workers_ = workers;
    for (u32 w = 0; w < workers; ++w) new (&locals_[w]) Local{};
    global_.init(&locals_[workers], max_threads);
  }

  void push(u32 worker, T& thread) noexcept {
    Local& local = locals_[worker];
    List<T> overflow;
    {
      LockGuard<P> guard(local.lock);
      local.list.push_back(thread);
      if (local.list.count() > kLocalCapacity) local.list.move_front(kLocalCapacity / 2, overflow);
      local.publish_count();
    }
    if (!overflow.empty()) global_.push_all(overflow);
  }

  void push_all(u32 worker, List<T>& batch) noexcept {
    Local& local = locals_[worker];
    {
      LockGuard<P> guard(local.lock);
      const u32 count = local.list.count();
      batch.move_front(count < kLocalCapacity ? kLocalCapacity - count : 0, local.list);
      local.publish_count();
    }
    if (!batch.empty()) global_.push_all(batch);
  }

  void push_global(List<T>& batch) noexcept { global_.push_all(batch); }

  T* pop(u32 worker) noexcept {
    Local& local = locals_[worker];
    if (--local.until_global == 0) {
      local.until_global = kGlobalInterval;
      if (T* thread = take_share(worker, 1)) return thread;
    }
    // Relaxed: only the owner adds, so a stale count is at worst too high, and the list decides
    // then.
    if (local.count_hint.load(std::memory_order_relaxed) != 0) {
      LockGuard<P> guard(local.lock);
      T* thread = local.list.pop_front();
      local.publish_count();
      if (thread != nullptr) return thread;
    }
    return take_share(worker, kLocalCapacity / 2);
  }

  T* steal(u32 thief) noexcept {
    for (u32 i = 1; i < workers_; ++i) {
      Local& victim = locals_[(thief + i) % workers_];
      List<T> batch;
      {
        LockGuard<P> guard(victim.lock);
        const u32 count = victim.list.count();
        victim.list.move_front(count - count / 2, batch);  // ceil(n/2): one of one [INV-STEAL-2]
        victim.publish_count();
      }
      T* thread = batch.pop_front();
      if (!batch.empty()) push_all(thief, batch);
      if (thread != nullptr) return thread;
    }
    return nullptr;
  }

  // Takes each lock in turn. ORD-IDLE-1: of a push and this look at the same list one comes first.
  // If the push does, its thread is seen here; if the look does, the pusher's next look at the idle
  // word sees what this worker announced before.
  bool any_ready() const noexcept {
    if (global_.any_ready()) return true;
    for (u32 w = 0; w < workers_; ++w) {
      LockGuard<P> guard(locals_[w].lock);
      if (!locals_[w].list.empty()) return true;
    }
    return false;
  }

  // See List::audit(). memory, workers, max_threads: those of init().
  template <class Visit>
  const char* audit(const void* memory, u32 workers, u32 max_threads,
                    Visit&& visit) const noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    if (locals_ != memory || workers_ != workers) return "INV-RQ-2";
    for (u32 w = 0; w < workers; ++w) {
      const Local& local = locals_[w];
      if (local.lock.held()) return "INV-LOCK-1";
      if (const char* broken = local.list.audit(kLocalCapacity, visit)) return broken;
      // Relaxed: held still.
      if (local.count_hint.load(std::memory_order_relaxed) != local.list.count()) return "INV-RQ-2";
    }
    return global_.audit(&locals_[workers], max_threads, visit);
  }

 private:
  struct alignas(64) Local {
    mutable SpinLock<P> lock;
    List<T> list GVT_GUARDED_BY(lock);
    typename P::template Atomic<u32> count_hint{0};
    u32 until_global = kGlobalInterval;  // the owner's pops

    void publish_count() noexcept GVT_REQUIRES(lock) {
      count_hint.store(list.count(), std::memory_order_relaxed);  // a hint, see pop()
    }
  };

  static T* taken(T* thread) noexcept {
    GVT_INVARIANT("INV-RQ-1", thread->queued);
    thread->queued = false;
    return thread;
  }

  // The oldest of the global queue, or null; its share of the others fits into the local queue,
  // which is empty unless `max` is 1.
  T* take_share(u32 worker, u32 max) noexcept {
    T* threads[kLocalCapacity / 2];
    const auto keep = [this, worker](T** rest, u32 count) noexcept {
      Local& local = locals_[worker];
      LockGuard<P> guard(local.lock);
      for (u32 i = 0; i < count; ++i) local.list.push_back(*taken(rest[i]));
      local.publish_count();
    };
    return global_.take_share(workers_, max, threads, keep) != 0 ? taken(threads[0]) : nullptr;
  }

  Local* locals_ = nullptr;
  u32 workers_ = 0;
  GlobalQueue<P, T> global_;
};

}  // namespace gvt::core
