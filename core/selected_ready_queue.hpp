// SPDX-License-Identifier: MIT
//
// selected_ready_queue.hpp - the ready queue that the configuration names. One predictable branch
// per call, in place of a kernel per queue or an indirect call. Tests:
// tests/unit/ready_queue_test.cpp.
#pragma once

#include "core/lock_free_ready_queue.hpp"
#include "core/simple_ready_queue.hpp"

namespace gvt::core {

template <class P, class T>
class SelectedReadyQueue {
  using Simple = SimpleReadyQueue<P, T>;
  using LockFree = LockFreeReadyQueue<P, T>;

 public:
  static constexpr u64 required_bytes(u32 workers, u32 max_threads) noexcept {
    const u64 simple = Simple::required_bytes(workers, max_threads);
    const u64 lock_free = LockFree::required_bytes(workers, max_threads);
    return simple > lock_free ? simple : lock_free;
  }

  void init(void* memory, u32 workers, u32 max_threads, QueueKind kind) noexcept {
    kind_ = kind;
    select([&](auto& queue) { queue.init(memory, workers, max_threads, kind); });
  }

  [[gnu::always_inline]] inline void push(u32 worker, T& thread) noexcept {
    select([&](auto& queue) { queue.push(worker, thread); });
  }
  void push_all(u32 worker, List<T>& batch) noexcept {
    select([&](auto& queue) { queue.push_all(worker, batch); });
  }
  void push_global(List<T>& batch) noexcept {
    select([&](auto& queue) { queue.push_global(batch); });
  }
  [[gnu::always_inline]] inline T* pop(u32 worker) noexcept {
    return select([&](auto& queue) { return queue.pop(worker); });
  }
  T* steal(u32 thief) noexcept {
    return select([&](auto& queue) { return queue.steal(thief); });
  }
  bool any_ready() const noexcept {
    return kind_ == QueueKind::lock_free ? lock_free_.any_ready() : simple_.any_ready();
  }
  template <class Visit>
  const char* audit(const void* memory, u32 workers, u32 max_threads,
                    Visit&& visit) const noexcept {
    return kind_ == QueueKind::lock_free ? lock_free_.audit(memory, workers, max_threads, visit)
                                         : simple_.audit(memory, workers, max_threads, visit);
  }

 private:
  template <class F>
  [[gnu::always_inline]] decltype(auto) select(F&& f) noexcept {
    if (kind_ == QueueKind::lock_free) [[likely]]
      return f(lock_free_);
    return f(simple_);
  }

  QueueKind kind_ = QueueKind::lock_free;
  LockFree lock_free_;
  Simple simple_;
};

}  // namespace gvt::core
