// SPDX-License-Identifier: MIT
//
// audit.hpp - a look at a whole runtime that may be corrupt: says what is wrong and where, never
// aborts. It writes nothing but its caller's scratch bytes, takes no lock, follows no pointer and
// no index that it has not checked, and every loop is bounded by the configuration that it was
// given. Invariants: INV-AUD-1; it checks most others. Those checked at each dispatch (INV-CTX-2,
// INV-RQ-1, INV-STACK-1) are in scheduler.hpp and the queues. Tests:
// tests/property/kernel_properties_test.cpp, fuzz/fz_audit.cpp.
#pragma once

#include "core/scheduler.hpp"

namespace gvt::core {

enum class AuditCode : u8 { ok, config, layout, worker, thread, queue, timer, slot, stack, count };

// What kind of thing is broken, the rule, and which slot, worker or number shows it.
struct Finding {
  AuditCode code = AuditCode::ok;
  const char* invariant = nullptr;
  u32 witness = 0;

  constexpr bool ok() const noexcept { return code == AuditCode::ok; }
};

template <class Parts>
class Auditor {
 public:
  using Kernel = Scheduler<Parts>;
  using Green = typename Kernel::Green;
  static constexpr u32 kStep = 64;

  // config, memory, stacks: those of init(), kept apart from the runtime.
  Auditor(const Kernel& kernel, const Config& config, const std::byte* memory,
          const typename Parts::Memory* stacks) noexcept
      : s_(kernel), c_(config), memory_(memory), stacks_(stacks), at_(Kernel::layout(config)) {}

  // The first thing that is wrong with a runtime held still: no worker inside a kernel operation
  // (each sleeps, has returned, or runs a thread). scratch: max_threads bytes. O(max_threads).
  Finding full(u8* scratch) const noexcept {
    if (Finding f = anchors(); !f.ok()) return f;
    for (u32 i = 0; i < c_.max_threads; ++i) scratch[i] = 0;
    u32 witness = 0;
    // Each thread and stack is met at most once in each kind of place.
    const auto meet = [&](u32 id, u8 place, const char* invariant) -> const char* {
      witness = id;
      if (id >= c_.max_threads || (scratch[id] & place) != 0) return invariant;
      scratch[id] |= place;
      return nullptr;
    };
    const auto queued = [&](const Green* t) { return meet(id_of(t), kQueued, "INV-RQ-1"); };
    if (const char* broken = visit_ready(queued)) return {AuditCode::queue, broken, witness};
    const auto sleeps = [&](u32 worker, const SleepHeap::Entry& e) {
      const char* broken = meet(e.sleeper, kSleeps, "INV-HEAP-1");
      return broken == nullptr && threads()[e.sleeper].heap_worker != worker ? "INV-HEAP-1"
                                                                             : broken;
    };
    if (const char* broken = visit_sleepers(sleeps)) return {AuditCode::timer, broken, witness};
    const auto is_free = [&](u32 id) { return meet(id, kFree, "INV-SLOT-2"); };
    if (const char* broken = visit_free(is_free)) return {AuditCode::slot, broken, witness};
    const auto spare = [&](u32 stack) { return meet(stack, kStack, "INV-STACK-1"); };
    if (const char* broken = s_.stack_pool_.audit(memory_ + at_.stack_pool, c_.workers,
                                                  c_.max_threads, c_.warm_stacks, spare)) {
      return {AuditCode::stack, broken, witness};
    }
    for (u32 w = 0; w < c_.workers; ++w) {
      const Green* current = workers()[w].current;
      if (current != nullptr && meet(id_of(current), kRuns, "INV-CTX-2") != nullptr)
        return {AuditCode::worker, "INV-CTX-2", w};
    }
    u64 live = 0;
    for (u32 id = 0; id < c_.max_threads; ++id) {
      if (word(id).raw == 0 && (scratch[id] & ~kStack) == 0) continue;  // never used
      if (Finding f = slot(id); !f.ok()) return f;
      if (Finding f = places(id, scratch); !f.ok()) return f;
      live += word(id).phase() != Phase::free ? 1 : 0;
    }
    const bool counted = live == s_.count(Count::spawned) - s_.count(Count::ended);
    return counted ? Finding{} : Finding{AuditCode::count, "INV-DRAIN-1", static_cast<u32>(live)};
  }

  // What can be told of a runtime that runs: the next kStep control blocks from `cursor` on, which
  // moves, each by itself.
  Finding step(u32& cursor) const noexcept {
    Finding found = anchors();
    for (u32 n = 0; n < kStep && n < c_.max_threads && found.ok(); ++n) {
      const u32 id = cursor < c_.max_threads ? cursor : 0;
      cursor = id + 1;
      if (word(id).raw != 0) found = slot(id);
    }
    return found;
  }

  // The parts of full(), for whoever compares a runtime with a model: visit(thread), visit(worker,
  // heap entry), visit(slot) answer null, or a text that ends the walk and is returned.
  template <class Visit>
  const char* visit_ready(Visit&& visit) const noexcept {
    return s_.queue_.audit(memory_ + at_.queue, c_.workers, c_.max_threads, visit);
  }
  template <class Visit>
  const char* visit_sleepers(Visit&& visit) const noexcept {
    return s_.timers_.audit(memory_ + at_.timers, threads(), c_.workers, c_.max_threads, visit);
  }
  template <class Visit>
  const char* visit_free(Visit&& visit) const noexcept {
    return s_.thread_pool_.audit(memory_ + at_.thread_pool, c_.workers, c_.max_threads,
                                 c_.max_threads, visit);
  }
  const Green* threads() const noexcept {
    return reinterpret_cast<const Green*>(memory_ + at_.threads);
  }

 private:
  using Worker = typename Kernel::Worker;
  static constexpr u8 kQueued = 1, kSleeps = 2, kFree = 4, kStack = 8, kRuns = 16;
  static constexpr u64 kGeneration = ~u64{0} << ParkWord::kGenerationShift;
  static constexpr u64 kKnownBits = kGeneration | (ParkWord::kJoined * 2 - 1);

  const Worker* workers() const noexcept {
    return reinterpret_cast<const Worker*>(memory_ + at_.workers);
  }
  ParkWord word(u32 id) const noexcept {
    return {threads()[id].word.load(std::memory_order_acquire)};
  }

  // The id of the control block at this address, or max_threads if there is none.
  u32 id_of(const Green* thread) const noexcept {
    const u64 offset = reinterpret_cast<u64>(thread) - reinterpret_cast<u64>(threads());
    const u64 id = offset / sizeof(Green);
    return offset % sizeof(Green) == 0 && id < c_.max_threads ? static_cast<u32>(id)
                                                              : c_.max_threads;
  }

  // What never changes after init.
  Finding anchors() const noexcept {
    // As a byte first: a corrupt bool must not be loaded as one.
    if (reinterpret_cast<const u8&>(s_.config_.caller_is_worker) > 1 || s_.config_ != c_)
      return {AuditCode::config, "INV-AUD-1", 0};
    const auto is = [this](const void* pointer, u64 offset) { return pointer == memory_ + offset; };
    if (!is(s_.workers_, at_.workers) || !is(s_.threads_, at_.threads) ||
        !is(s_.colds_, at_.colds) || !is(s_.names_, at_.names) || s_.stacks_ != stacks_) {
      return {AuditCode::layout, "INV-AUD-1", 0};
    }
    for (u32 w = 0; w < c_.workers; ++w) {
      const Worker& worker = workers()[w];
      if (worker.scheduler != &s_ || worker.index != w ||
          worker.token.load(std::memory_order_acquire) > Worker::kAsleep) {
        return {AuditCode::worker, "INV-AUD-1", w};
      }
    }
    return {};
  }

  // One control block by itself.
  Finding slot(u32 id) const noexcept {
    const ParkWord w = word(id);
    const bool free = w.phase() == Phase::free;
    const bool good = threads()[id].id == id && (w.raw & ~kKnownBits) == 0 &&
                      (free ? (w.raw & ~kGeneration) == 0 : w.generation() != 0) &&
                      (w.waiting() || !w.has(ParkWord::kEndsOnPermit | ParkWord::kEndsOnCancel));
    return good ? Finding{} : Finding{AuditCode::thread, "INV-SLOT-1", id};
  }

  // Where a thread is in a runtime held still: ready in one queue, running on one worker, parked,
  // or free.
  Finding places(u32 id, u8* scratch) const noexcept {
    const Green& thread = threads()[id];
    const ParkWord w = word(id);
    const bool free = w.phase() == Phase::free;
    const bool queued = (scratch[id] & kQueued) != 0;
    const bool runs = (scratch[id] & kRuns) != 0;
    const bool bound = thread.stack != Green::kNoStack;
    const char* broken = nullptr;
    // As a byte: a corrupt bool must not be loaded as one.
    const u8 mark = *reinterpret_cast<const u8*>(&thread.queued);
    if (mark != (queued ? 1 : 0) || (queued && runs)) broken = "INV-RQ-1";
    if ((w.phase() == Phase::active) != (queued || runs)) broken = "INV-IDLE-1";
    if (w.phase() == Phase::parking) broken = "INV-CTX-1";
    if (thread.join_lock.held()) broken = "INV-LOCK-1";
    if (!free && (scratch[id] & kFree) != 0) broken = "INV-SLOT-2";
    if (free && (scratch[id] & kSleeps) != 0) broken = "INV-TMR-3";
    if (s_.colds_[id].joiners != nullptr && !w.has(ParkWord::kJoined)) broken = "INV-WAIT-1";
    if (bound ? free : w.phase() == Phase::parked || runs) broken = "INV-STACK-1";
    if (broken != nullptr || !bound)
      return broken == nullptr ? Finding{} : Finding{AuditCode::thread, broken, id};
    if (thread.stack >= c_.max_threads || (scratch[thread.stack] & kStack) != 0)
      return {AuditCode::stack, "INV-STACK-1", id};
    scratch[thread.stack] |= kStack;
    const bool inside =
        runs || stacks_->holds(thread.stack, Parts::Port::stack_pointer(thread.context));
    return inside ? Finding{} : Finding{AuditCode::stack, "INV-CTX-2", id};
  }

  const Kernel& s_;
  const Config c_;
  const std::byte* memory_;
  const typename Parts::Memory* stacks_;
  const typename Kernel::Layout at_;
};

}  // namespace gvt::core
