// SPDX-License-Identifier: MIT
//
// lock_free_ready_queue.hpp - the ready queue with a bounded ring per worker: one producer, the
// owner; consumers are the owner and thieves. No lock on the owner's path; with a single worker no
// atomic read-modify-write either. Contract and invariants: core/ready_queue.hpp; INV-RING-1 (0 <=
// tail - head <= capacity). Model: model/spec.hpp. Tests: tests/unit/ready_queue_test.cpp. Source:
// the local run queue of Go's scheduler (Vyukov 2012). Not a Chase-Lev deque: the owner claims by
// compare-exchange too, so the order is FIFO and no stand-alone fence is needed, which
// ThreadSanitizer does not see.
#pragma once

#include <new>

#include "core/global_queue.hpp"
#include "core/ready_queue.hpp"

namespace gvt::core {

template <class P, class T, u32 kLocalCapacity = 256>
class LockFreeReadyQueue {
  static_assert(kLocalCapacity >= 2 && (kLocalCapacity & (kLocalCapacity - 1)) == 0,
                "a power of two, so that the ring keeps its order when the 32-bit indexes wrap");

 public:
  static constexpr u64 required_bytes(u32 workers, u32 max_threads) noexcept {
    return u64{workers} * sizeof(Local) + GlobalQueue<P, T>::required_bytes(max_threads);
  }

  // first_index: where the rings' indexes begin; tests begin just below the wrap.
  void init(void* memory, u32 workers, u32 max_threads, QueueKind, u32 first_index = 0) noexcept {
    locals_ = static_cast<Local*>(memory);
    workers_ = workers;
    for (u32 w = 0; w < workers; ++w) {
      new (&locals_[w]) Local{};
      // Relaxed: before any other worker exists.
      locals_[w].head.store(first_index, std::memory_order_relaxed);
      locals_[w].tail.store(first_index, std::memory_order_relaxed);
    }
    global_.init(&locals_[workers], max_threads);
  }

  [[gnu::always_inline]] inline void push(u32 worker, T& thread) noexcept {
    Local& local = locals_[worker];
    mark(thread);
    const u32 tail = local.tail.load(std::memory_order_relaxed);  // only written by this worker
    // ORD-RING-2: acquire, pairs with the consumers' exchange: the entry is free for reuse only
    // after they have read it.
    const u32 head = local.head.load(std::memory_order_acquire);
    if (tail - head >= kLocalCapacity) [[unlikely]]
      return overflow(local, thread);
    put(local, tail, thread);
    publish(local, tail + 1);
  }

  void push_all(u32 worker, List<T>& batch) noexcept {
    while (!batch.empty()) {
      T* threads[kBatchMax];
      u32 count = 0;
      while (count < kBatchMax && !batch.empty()) {
        threads[count] = batch.pop_front();
        mark(*threads[count++]);
      }
      refill(locals_[worker], threads, count);
    }
  }

  void push_global(List<T>& batch) noexcept { global_.push_all(batch); }

  [[gnu::always_inline]] inline T* pop(u32 worker) noexcept {
    Local& local = locals_[worker];
    if (--local.until_global != 0) [[likely]] {
      if (T* thread = take_first(local)) [[likely]]
        return thread;
    }
    return pop_global(local);
  }

  T* steal(u32 thief) noexcept {
    for (u32 i = 1; i < workers_; ++i) {
      T* threads[kBatchMax];
      const u32 count = take_half(locals_[(thief + i) % workers_], locals_[thief], threads);
      if (count == 0) continue;
      refill(locals_[thief], threads + 1, count - 1);
      return taken(threads[0]);
    }
    return nullptr;
  }

  bool any_ready() const noexcept {
    if (global_.any_ready()) return true;
    for (u32 w = 0; w < workers_; ++w) {
      // ORD-IDLE-1 (b): seq_cst, in one order with the push's store and the announcement.
      if (locals_[w].tail.load(std::memory_order_seq_cst) !=
          locals_[w].head.load(std::memory_order_seq_cst)) {
        return true;
      }
    }
    return false;
  }

  // See List::audit(). memory, workers, max_threads: those of init().
  template <class Visit>
  const char* audit(const void* memory, u32 workers, u32 max_threads,
                    Visit&& visit) const noexcept {
    if (locals_ != memory || workers_ != workers) return "INV-RQ-2";
    for (u32 w = 0; w < workers; ++w) {
      const u32 head = locals_[w].head.load(std::memory_order_relaxed);  // relaxed: held still
      const u32 count = locals_[w].tail.load(std::memory_order_relaxed) - head;
      if (count > kLocalCapacity) return "INV-RING-1";
      for (u32 i = 0; i < count; ++i) {
        if (const char* broken = visit(get(locals_[w], head + i))) return broken;
      }
    }
    return global_.audit(&locals_[workers], max_threads, visit);
  }

 private:
  struct Local {
    alignas(64) typename P::template Atomic<u32> head{0};  // oldest; moved by whoever consumes
    alignas(64) typename P::template Atomic<u32> tail{0};  // next free; moved by the owner
    u32 until_global = kGlobalInterval;                    // the owner's pops
    u32 lone_left = 0;  // the owner's, as a thief: how often it left a lone thread
    alignas(64) typename P::template Atomic<T*> ring[kLocalCapacity]{};
  };

  static constexpr u32 kBatchMax = kLocalCapacity / 2 + 1;
  static constexpr u32 kLonePauses = 64;  // some 2 us; the thief took 61 us to wake up
  static constexpr u32 kLonePatience = 16;

  // How many pops ahead a control block, and then its stack, is fetched: with many threads each is
  // a cache miss, and so they overlap. Measured with 20 000 threads, see docs/performance.md.
  static constexpr u32 kPrefetchBlock = 4;
  static constexpr u32 kPrefetchStack = 2;

  // Relaxed: the tail's store publishes the entry, and head's exchange gives it back.
  static void put(Local& local, u32 index, T& thread) noexcept {
    local.ring[index % kLocalCapacity].store(&thread, std::memory_order_relaxed);
  }
  static T* get(const Local& local, u32 index) noexcept {
    return local.ring[index % kLocalCapacity].load(std::memory_order_relaxed);
  }
  static void mark(T& thread) noexcept {
    GVT_INVARIANT("INV-RQ-1", !thread.queued);
    thread.queued = true;
  }
  static T* taken(T* thread) noexcept {
    GVT_INVARIANT("INV-RQ-1", thread->queued);
    thread->queued = false;
    return thread;
  }

  // ORD-RING-1: at least release, pairs with take_half(). ORD-IDLE-1 (c): seq_cst, because the look
  // at the idle word that follows must not overtake it. With one worker there is none to wake for a
  // local thread. (An order chosen by an expression would be seq_cst always: it must be constant.)
  [[gnu::always_inline]] inline void publish(Local& local, u32 tail) noexcept {
    if (workers_ == 1) [[likely]] {
      local.tail.store(tail, std::memory_order_release);
    } else {
      local.tail.store(tail, std::memory_order_seq_cst);
    }
  }

  // The ring was full: its older half and the thread go to the global queue. A thief may make room
  // meanwhile.
  [[gnu::noinline]] void overflow(Local& local, T& thread) noexcept {
    const u32 tail = local.tail.load(std::memory_order_relaxed);  // only written by this worker
    for (;;) {  // again only when a thief was faster, and then there is room
      const u32 head = local.head.load(std::memory_order_acquire);  // ORD-RING-2
      if (tail - head < kLocalCapacity) {
        put(local, tail, thread);
        publish(local, tail + 1);
        return;
      }
      T* threads[kBatchMax];
      if (!consume(local, head, kLocalCapacity / 2, threads)) continue;
      threads[kLocalCapacity / 2] = &thread;
      return global_.push(threads, kLocalCapacity / 2 + 1);
    }
  }

  // The owner's pops move towards the tail; what they will need is fetched ahead.
  [[gnu::always_inline]] inline T* take_first(Local& local) noexcept {
    u32 head = local.head.load(std::memory_order_relaxed);
    const u32 tail = local.tail.load(std::memory_order_relaxed);  // only written by this worker
    while (head != tail) {  // again only when a thief was faster
      T* thread = get(local, head);
      if (tail - head > kPrefetchBlock) {
        __builtin_prefetch(get(local, head + kPrefetchBlock), 1);
        get(local, head + kPrefetchStack)->prefetch();
      }
      if (workers_ == 1) {  // no thieves. Release: for any_ready() on another OS thread
        local.head.store(head + 1, std::memory_order_release);
        return taken(thread);
      }
      // ORD-RING-2: release for the entry's reuse. Acquire: nothing, the owner wrote the entry
      // itself.
      if (local.head.compare_exchange_weak(head, head + 1, std::memory_order_release,
                                           std::memory_order_relaxed)) {
        return taken(thread);
      }
    }
    return nullptr;
  }

  // From the global queue, then the local one: the local one was empty, or it is the global one's
  // turn.
  [[gnu::noinline]] T* pop_global(Local& local) noexcept {
    T* threads[kBatchMax];
    const bool turn = local.until_global == 0;
    if (turn) local.until_global = kGlobalInterval;
    // The rest fits: the local queue is empty unless it is the global one's turn.
    const auto keep = [&](T** rest, u32 count) noexcept {
      const u32 tail = local.tail.load(std::memory_order_relaxed);  // only written by this worker
      for (u32 i = 0; i < count; ++i) put(local, tail + i, *rest[i]);
      publish(local, tail + count);
    };
    const u32 most = turn ? 1 : kLocalCapacity / 2;
    if (global_.take_share(workers_, most, threads, keep) != 0) return taken(threads[0]);
    return turn ? take_first(local) : nullptr;
  }

  // Appends threads that are marked as queued already to the caller's own ring; what does not fit
  // goes to the global one.
  void refill(Local& local, T* const* threads, u32 count) noexcept {
    if (count == 0) return;
    const u32 head = local.head.load(std::memory_order_acquire);  // ORD-RING-2
    const u32 tail = local.tail.load(std::memory_order_relaxed);  // only written by this worker
    const u32 room = kLocalCapacity - (tail - head);
    const u32 fit = count < room ? count : room;
    for (u32 i = 0; i < fit; ++i) put(local, tail + i, *threads[i]);
    if (fit > 0) publish(local, tail + fit);
    if (fit < count) global_.push(threads + fit, count - fit);
  }

  u32 take_half(Local& victim, Local& thief, T** threads) noexcept {
    for (;;) {  // again only when another consumer was faster
      const u32 head = victim.head.load(std::memory_order_acquire);
      const u32 tail = victim.tail.load(std::memory_order_acquire);  // ORD-RING-1
      const u32 ready = tail - head;
      if (ready == 0) return 0;
      if (ready > kLocalCapacity) continue;  // head is older than tail
      if (ready == 1 && !lone_is_waiting(victim, thief, head)) return 0;
      const u32 count = ready - ready / 2;  // ceil(n/2): one of one [INV-STEAL-2]
      if (consume(victim, head, count, threads)) return count;
    }
  }

  // A victim's only thread is most often one that it has just woken and will run in a moment:
  // taking it would part a pair that plays ping-pong, and each of their switches would then cost a
  // wake-up of another core. So a thief gives the victim a moment; if the victim moves on, the
  // thread is not behind a hog. But only so often in a row, for two threads that share a worker in
  // turn had better have one each.
  bool lone_is_waiting(const Local& victim, Local& thief, u32 head) noexcept {
    for (u32 i = 0; i < kLonePauses; ++i) {
      P::pause();
      // Relaxed: a hint; the claim decides.
      if (victim.head.load(std::memory_order_relaxed) != head)
        return ++thief.lone_left % kLonePatience == 0;
    }
    return true;
  }

  // Claims `count` entries from `head` on; false, and nothing moved, when another consumer was
  // faster. The entries are read before the claim, because afterwards the owner may overwrite them.
  // [INV-STEAL-1]
  bool consume(Local& local, u32 head, u32 count, T** threads) noexcept {
    GVT_INVARIANT("INV-RING-1", count < kBatchMax);
    for (u32 i = 0; i < count; ++i) threads[i] = get(local, head + i);
    return local.head.compare_exchange_strong(head, head + count, std::memory_order_acq_rel,
                                              std::memory_order_relaxed);  // ORD-RING-2
  }

  Local* locals_ = nullptr;
  u32 workers_ = 0;
  GlobalQueue<P, T> global_;
};

}  // namespace gvt::core
