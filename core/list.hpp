// SPDX-License-Identifier: MIT
//
// list.hpp - FIFO of nodes linked through their own `next` field. Not synchronised; never
// allocates. Invariants: INV-RQ-1 (through T::queued), INV-RQ-2. Tests: tests/unit/list_test.cpp.
#pragma once

#include "core/types.hpp"

namespace gvt::core {

// T has `T* next` and `bool queued`; both belong to the queue that holds the node.
template <class T>
class List {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  u32 count() const noexcept { return count_; }
  T* front() const noexcept { return head_; }

  void push_back(T& node) noexcept {
    GVT_INVARIANT("INV-RQ-1", !node.queued);
    node.queued = true;
    node.next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = &node;
    tail_ = &node;
    ++count_;
  }

  // The oldest node, or null.
  T* pop_front() noexcept {
    T* node = head_;
    if (node == nullptr) return nullptr;
    GVT_INVARIANT("INV-RQ-1", node->queued);
    head_ = node->next;
    node->next = nullptr;
    node->queued = false;
    --count_;
    GVT_INVARIANT("INV-RQ-2", (count_ == 0) == (head_ == nullptr));
    return node;
  }

  // Moves the `n` oldest nodes (at most all) to the end of `to`, in order. O(n).
  void move_front(u32 n, List& to) noexcept {
    for (; n > 0 && head_ != nullptr; --n) to.push_back(*pop_front());
  }

  // For audits of what may be corrupt: the broken invariant, or null. visit(node) says the same of
  // each node, in order, before it is followed. Bounded by `limit`.
  template <class Visit>
  const char* audit(u32 limit, Visit&& visit) const noexcept {
    if (count_ > limit) return "INV-RQ-2";
    const T* last = tail_;
    const T* node = head_;
    for (u32 i = 0; i < count_; ++i, node = node->next) {
      if (const char* broken = visit(node)) return broken;
      last = node;
    }
    return node == nullptr && (count_ == 0 || last == tail_) ? nullptr : "INV-RQ-2";
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;  // valid while head_ is not null
  u32 count_ = 0;
};

}  // namespace gvt::core
