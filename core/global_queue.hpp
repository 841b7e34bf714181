// SPDX-License-Identifier: MIT
//
// global_queue.hpp - the FIFO behind the local queues: overflow, and threads made ready from
// outside. A ring of pointers under one SpinLock, with room for every thread, so it is never full.
// Threads move in batches, as pointers: no control block is touched on the way, and the lock is
// taken once for many. Invariants: INV-RQ-1, INV-RQ-3, INV-GQ-1 (never more threads than exist).
// Tests: tests/unit/ready_queue_test.cpp.
#pragma once

#include <bit>

#include "core/list.hpp"
#include "core/spin_lock.hpp"

namespace gvt::core {

template <class P, class T>
class GlobalQueue {
 public:
  static constexpr u64 required_bytes(u32 max_threads) noexcept {
    return (u64{std::bit_ceil(max_threads)} * sizeof(T*) + 63) & ~u64{63};
  }

  // memory: required_bytes(max_threads), 64-byte aligned; need not be cleared.
  void init(void* memory, u32 max_threads) noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    ring_ = static_cast<T**>(memory);
    mask_ = std::bit_ceil(max_threads) - 1;
    head_ = tail_ = 0;
    count_hint_.store(0, std::memory_order_relaxed);  // no other OS thread yet
  }

  // The threads are marked as queued already.
  void push(T* const* threads, u32 count) noexcept {
    LockGuard<P> guard(lock_);
    for (u32 i = 0; i < count; ++i) append(threads[i]);
    publish_count();
  }

  // Takes all threads of a batch out of it.
  void push_all(List<T>& batch) noexcept {
    LockGuard<P> guard(lock_);
    while (T* thread = batch.pop_front()) {
      thread->queued = true;
      append(thread);
    }
    publish_count();
  }

  // Takes up to `max` of the oldest, but no more than this worker's share, so that one worker does
  // not drain what many wait for. They stay marked as queued. Returns how many. All but the first
  // go to keep(threads, count), which is called under the lock and puts them into the local queue:
  // were they in no queue for a moment, a worker that looks then would go to sleep, and nobody
  // would wake it for them. [INV-IDLE-3] Lock order: global, then local.
  template <class Keep>
  u32 take_share(u32 workers, u32 max, T** threads, Keep&& keep) noexcept {
    // Relaxed: a hint. Whoever needs to be sure uses any_ready().
    if (count_hint_.load(std::memory_order_relaxed) == 0) return 0;
    LockGuard<P> guard(lock_);
    const u32 here = tail_ - head_;
    if (here == 0) return 0;
    u32 count = here / workers + 1;
    if (count > max) count = max;
    if (count > here) count = here;
    for (u32 i = 0; i < count; ++i) threads[i] = ring_[head_++ & mask_];
    publish_count();
    if (count > 1) keep(threads + 1, count - 1);
    return count;
  }

  bool any_ready() const noexcept {
    LockGuard<P> guard(lock_);
    return tail_ != head_;
  }

  // See List::audit(). memory: that of init().
  template <class Visit>
  const char* audit(const void* memory, u32 max_threads,
                    Visit&& visit) const noexcept GVT_NO_THREAD_SAFETY_ANALYSIS {
    if (lock_.held()) return "INV-LOCK-1";
    const u32 count = tail_ - head_;
    if (ring_ != memory || mask_ != std::bit_ceil(max_threads) - 1 || count > max_threads ||
        count_hint_.load(std::memory_order_relaxed) != count) {  // relaxed: held still
      return "INV-GQ-1";
    }
    for (u32 i = 0; i < count; ++i) {
      if (const char* broken = visit(ring_[(head_ + i) & mask_])) return broken;
    }
    return nullptr;
  }

 private:
  void append(T* thread) noexcept GVT_REQUIRES(lock_) {
    GVT_INVARIANT("INV-GQ-1", tail_ - head_ <= mask_);
    ring_[tail_++ & mask_] = thread;
  }

  void publish_count() noexcept GVT_REQUIRES(lock_) {
    count_hint_.store(tail_ - head_, std::memory_order_relaxed);  // a hint, see take_share()
  }

  alignas(64) mutable SpinLock<P> lock_;
  T** ring_ = nullptr;
  u32 mask_ = 0;
  u32 head_ GVT_GUARDED_BY(lock_) = 0;
  u32 tail_ GVT_GUARDED_BY(lock_) = 0;
  typename P::template Atomic<u32> count_hint_{0};
};

}  // namespace gvt::core
