// SPDX-License-Identifier: MIT
//
// ready_queue.hpp - the contract of every ready queue: per-worker local queues, one global queue
// behind them.
//
//   push       owner of a local queue only; a full local queue gives half of its threads to the
//              global one. Nothing is lost.
//   pop        owner only; every kGlobalInterval-th looks at the global queue first, so that it
//              can't starve.
//   steal      an idle worker takes ceil(n/2) of another's, so that a lone thread behind a hog can
//              be taken.
//   any_ready  exact for whoever has announced itself idle before (ORD-IDLE-1): it misses no thread
//              whose push is followed by a look at the idle word that saw no such announcement, and
//              none that a pop moves from the global queue to a local one. Threads that a steal has
//              in hand it may miss: the thief is counted as searching, and looks once more.
//   audit      held still: every thread in it, see List::audit().
//
// Waking a worker is the scheduler's task.
// Invariants: INV-RQ-1, INV-RQ-2, INV-RQ-3 (a local queue is FIFO), INV-STEAL-1, INV-STEAL-2.
// Source: the shape is that of Go's scheduler (Vyukov, "Scalable Go Scheduler Design", 2012).
#pragma once

#include <concepts>

#include "core/config.hpp"
#include "core/list.hpp"

namespace gvt::core {

// Prime, so that it does not fall in step with a program's own period.
inline constexpr u32 kGlobalInterval = 61;

template <class Q, class T>
concept ReadyQueue = requires(Q& q, const Q& cq, u32 worker, u32 max_threads, T& thread,
                              List<T>& batch, void* memory, QueueKind kind) {
  { Q::required_bytes(worker, max_threads) } noexcept -> std::same_as<u64>;
  // memory: 64-byte aligned.
  { q.init(memory, worker, max_threads, kind) } noexcept -> std::same_as<void>;
  { q.push(worker, thread) } noexcept -> std::same_as<void>;
  { q.push_all(worker, batch) } noexcept -> std::same_as<void>;  // leaves batch empty
  { q.push_global(batch) } noexcept -> std::same_as<void>;       // any OS thread
  { q.pop(worker) } noexcept -> std::same_as<T*>;
  { q.steal(worker) } noexcept -> std::same_as<T*>;  // for `worker`, from all others
  { cq.any_ready() } noexcept -> std::same_as<bool>;
};

}  // namespace gvt::core
