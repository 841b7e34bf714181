// SPDX-License-Identifier: MIT
//
// consistent.hpp - whether a part held still is in order, by its own audit, for tests that ask no
// more.
#pragma once

#include "core/list.hpp"

namespace gvt::model {

// A ready queue: in order, and at most `limit` threads in it, each marked as queued. memory,
// workers, max_threads: those of init().
template <class Queue>
bool consistent(const Queue& queue, const void* memory, u32 workers, u32 max_threads,
                u32 limit) noexcept {
  u32 seen = 0;
  const auto visit = [&](const auto* thread) {
    const bool good = thread != nullptr && thread->queued && seen++ < limit;
    return good ? nullptr : "INV-RQ-1";
  };
  return queue.audit(memory, workers, max_threads, visit) == nullptr;
}

// A list: count, links and ends agree, each node is marked as queued, and there are at most
// `limit`.
template <class T>
bool consistent(const core::List<T>& list, u32 limit) noexcept {
  const auto visit = [](const T* node) {
    return node != nullptr && node->queued ? nullptr : "INV-RQ-1";
  };
  return list.audit(limit, visit) == nullptr;
}

// Timers: in order, and at most `limit` sleepers.
template <class Timers, class Sleeper>
bool consistent(const Timers& timers, const std::byte* memory, const Sleeper* threads, u32 workers,
                u32 capacity, u32 limit) noexcept {
  u32 seen = 0;
  const auto visit = [&](u32, const auto&) { return seen++ < limit ? nullptr : "INV-TMR-3"; };
  return timers.audit(memory, threads, workers, capacity, visit) == nullptr;
}

}  // namespace gvt::model
