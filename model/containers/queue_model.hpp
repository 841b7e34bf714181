// SPDX-License-Identifier: MIT
//
// queue_model.hpp - the reference of the ready queues: a deque per worker and one for the global
// queue, after the contract in core/ready_queue.hpp. Used by model/containers/queue.hpp.
#pragma once

#include <array>

#include "model/containers/program.hpp"

namespace gvt::model {

inline constexpr u32 kQueueWorkers = 4;
inline constexpr u32 kQueueThreads = 1200;
inline constexpr u64 kNobody = ~u64{0};

GVT_MODEL_BEGIN

// A deque of which only the back grows and only the front shrinks: a vector and where it begins.
// Copied often, which std::deque is slow at.
class Fifo {
 public:
  bool empty() const noexcept { return first_ == items_.size(); }
  usize size() const noexcept { return items_.size() - first_; }
  u32 front() const { return items_[first_]; }
  u32 operator[](usize i) const { return items_[first_ + i]; }
  void push_back(u32 id) { items_.push_back(id); }
  void pop_front() {
    if (++first_ == items_.size()) clear();
  }
  void clear() {
    items_.clear();
    first_ = 0;
  }
  Fifo() = default;
  Fifo(const Fifo& other) : items_(other.begin(), other.end()) {}
  Fifo& operator=(const Fifo& other) {
    if (this == &other) return *this;
    items_.assign(other.begin(), other.end());
    first_ = 0;
    return *this;
  }
  ~Fifo() = default;
  bool operator==(const Fifo& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }
  const u32* begin() const noexcept { return items_.data() + first_; }
  const u32* end() const noexcept { return items_.data() + items_.size(); }

 private:
  std::vector<u32> items_;
  usize first_ = 0;
};

// The reference. Threads are numbers.
struct QueueModel {
  u32 capacity = 0;
  u32 workers = 0;
  // What "a full local queue gives half of its threads to the global one" leaves open: whether the
  // thread whose push found it full goes along, at the end.
  bool newest_goes_along = false;
  std::array<Fifo, kQueueWorkers> local;
  std::array<u32, kQueueWorkers> pops{};
  Fifo global;

  bool operator==(const QueueModel&) const = default;

  void reset(u32 local_capacity, u32 worker_count, bool along) {
    capacity = local_capacity;
    workers = worker_count;
    newest_goes_along = along;
    for (auto& queue : local) queue.clear();
    pops = {};
    global.clear();
  }

  void push(u32 worker, u32 id) {
    auto& mine = local[worker];
    if (mine.size() < capacity) {
      mine.push_back(id);
      return;
    }
    for (u32 i = 0; i < capacity / 2; ++i) move_first(mine, global);
    (newest_goes_along ? global : mine).push_back(id);
  }

  u64 pop(u32 worker) {
    auto& mine = local[worker];
    if (++pops[worker] % 61 == 0 && !global.empty()) return take_first(global);
    if (!mine.empty()) return take_first(mine);
    // The worker's share of the global queue: the first is the answer, the others become local.
    usize share = std::min<usize>(global.size() / workers + 1, capacity / 2);
    if (global.empty()) return kNobody;
    const u64 first = take_first(global);
    for (; share > 1 && !global.empty(); --share) move_first(global, mine);
    return first;
  }

  u64 steal(u32 thief) {
    for (u32 i = 1; i < workers; ++i) {
      auto& victim = local[(thief + i) % workers];
      if (victim.empty()) continue;
      usize half = (victim.size() + 1) / 2;  // a lone thread can be stolen
      const u64 first = take_first(victim);
      while (--half > 0) move_first(victim, local[thief].size() < capacity ? local[thief] : global);
      return first;
    }
    return kNobody;
  }

  bool any_ready() const {
    for (u32 w = 0; w < workers; ++w) {
      if (!local[w].empty()) return true;
    }
    return !global.empty();
  }

  static u64 take_first(Fifo& from) {
    const u32 id = from.front();
    from.pop_front();
    return id;
  }
  static void move_first(Fifo& from, Fifo& to) {
    to.push_back(from.front());
    from.pop_front();
  }
};

GVT_MODEL_END

}  // namespace gvt::model
