// SPDX-License-Identifier: MIT
//
// idle_set.hpp - which workers sleep and how many search, in one word changed only by
// read-modify-writes. A producer wakes a worker only if one is idle and none is searching: a
// searcher finds the work, and the last one to stop searching looks once more
// (Scheduler::end_search). So there is no herd, and no wake is lost. Invariants: INV-IDLE-1,
// INV-IDLE-2 (a claim belongs to one). Tests: tests/unit/idle_set_test.cpp.
//
// ORD-IDLE-1. The interleaving that breaks the obvious version, "look into the queues, then
// announce, then sleep": the worker looks and finds nothing; the producer pushes and sees nobody
// idle; the worker announces and sleeps, and the thread waits for ever. Here the worker announces
// (a), looks (b), sleeps; the producer pushes (c), reads this word (d). One of b and d sees the
// other's earlier step, by the queue's lock or by the total order of sequentially consistent
// operations.
#pragma once

#include <bit>

#include "core/config.hpp"
#include "core/port.hpp"

namespace gvt::core {

template <class P>
class IdleSet {
 public:
  static constexpr u32 kNobody = ~u32{0};

  // The worker sleeps unless it finds something in the look that must follow. `searching`: it
  // counted as a searcher, which ends here. True if it was the last one.
  bool announce(u32 worker, bool searching) noexcept {
    const u64 add = bit(worker) - (searching ? kSearcher : 0);           // wraps round, as is meant
    const u64 before = word_.fetch_add(add, std::memory_order_seq_cst);  // ORD-IDLE-1 (a)
    GVT_INVARIANT("INV-IDLE-2", (before & bit(worker)) == 0);
    return searching && searchers(before) == 1;
  }

  // The worker takes its announcement back and searches. False: a waker has claimed it first and
  // will signal.
  bool retract(u32 worker) noexcept {
    // Relaxed: the exchange decides.
    u64 word = word_.load(std::memory_order_relaxed);
    while ((word & bit(worker)) != 0) {
      if (word_.compare_exchange_weak(word, word - bit(worker) + kSearcher,
                                      std::memory_order_seq_cst)) {
        return true;
      }
    }
    return false;
  }

  // After a push: an idle worker that the caller must signal, counted as searching from here on;
  // kNobody if none is idle or somebody searches already. ORD-IDLE-1 (d).
  u32 claim_any() noexcept {
    u64 word = word_.load(std::memory_order_seq_cst);
    while ((word & kIdleMask) != 0 && searchers(word) == 0) {
      const u32 worker = static_cast<u32>(std::countr_zero(word));
      if (word_.compare_exchange_weak(word, word - bit(worker) + kSearcher,
                                      std::memory_order_seq_cst)) {
        return worker;
      }
    }
    return kNobody;
  }

  // The given worker, if it is idle: true, and the caller must signal it.
  bool claim(u32 worker) noexcept { return retract(worker); }

  // A worker without work wants to steal. At most half of the workers do at once: more would only
  // contend.
  bool begin_search(u32 workers) noexcept {
    u64 word = word_.load(std::memory_order_relaxed);  // relaxed: the exchange decides
    while (2 * searchers(word) < workers) {
      if (word_.compare_exchange_weak(word, word + kSearcher, std::memory_order_seq_cst))
        return true;
    }
    return false;
  }

  // The worker has found something. True if it was the last searcher: it must look once more and
  // wake the next, because producers relied on it.
  bool end_search() noexcept {
    const u64 before = word_.fetch_sub(kSearcher, std::memory_order_seq_cst);  // ORD-IDLE-1 (a)
    GVT_INVARIANT("INV-IDLE-2", searchers(before) > 0);
    return searchers(before) == 1;
  }

  // Orders the caller's earlier writes and later reads against every announcement: whichever comes
  // second sees what was written before the first.
  void synchronise() noexcept { word_.fetch_add(0, std::memory_order_seq_cst); }

  bool any_idle() const noexcept {
    return (word_.load(std::memory_order_seq_cst) & kIdleMask) != 0;
  }
  u32 searching() const noexcept { return searchers(word_.load(std::memory_order_seq_cst)); }
  bool is_idle(u32 worker) const noexcept {
    return (word_.load(std::memory_order_seq_cst) & bit(worker)) != 0;
  }

 private:
  static constexpr u32 kSearcherShift = kMaxWorkers;
  static constexpr u64 kSearcher = u64{1} << kSearcherShift;
  static constexpr u64 kIdleMask = kSearcher - 1;
  static_assert(kMaxWorkers < (1u << (64 - kSearcherShift)), "all workers may search at once");

  static constexpr u64 bit(u32 worker) noexcept { return u64{1} << worker; }
  static constexpr u32 searchers(u64 word) noexcept {
    return static_cast<u32>(word >> kSearcherShift);
  }

  alignas(64) typename P::template Atomic<u64> word_{0};
};

}  // namespace gvt::core
