// SPDX-License-Identifier: MIT
//
// list.hpp - core/list.hpp beside a std::deque per list. Invariants: INV-RQ-1, INV-RQ-2, INV-RQ-3.
#pragma once

#include <array>
#include <deque>

#include "core/list.hpp"
#include "model/consistent.hpp"
#include "model/containers/program.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

// A thread as the containers see it.
struct Node {
  Node* next = nullptr;
  bool queued = false;
  u32 id = 0;

  void prefetch() const noexcept {}
};

class ListRig {
 public:
  static constexpr const char* kName = "list";
  static constexpr const char* kSetup[] = {"nodes", "-", "-", "-"};
  static constexpr const char* kOps[] = {"push_back", "pop_front", "move_front",
                                         "move_all",  "push_many", "corrupt"};

  void start(const Program& program, Checker&) {
    node_count_ = program.setup(0) % 2 == 0 ? 4 : kNodes;
    steps_ = 0;
    free_.clear();
    for (u32 i = 0; i < kNodes; ++i) {
      nodes_[i] = Node{};
      nodes_[i].id = i;
    }
    for (u32 i = 0; i < node_count_; ++i) free_.push_back(i);
    for (u32 i = 0; i < kLists; ++i) {
      real_[i] = {};
      reference_[i].clear();
    }
  }

  void step(Op op, Checker& check) {
    const u32 from = op.a % kLists;
    const u32 to = (from + 1 + op.a / kLists % (kLists - 1)) % kLists;  // another one
    switch (op.code % std::size(kOps)) {
      case 0: push(from, 1); break;
      case 1: pop(from, check); break;
      case 2: {
        really([&] { real_[from].move_front(op.b, real_[to]); });
        for (u32 n = op.b; n > 0 && !reference_[from].empty(); --n) move_one(from, to);
        break;
      }
      case 3: {
        really([&] { real_[from].move_front(~u32{0}, real_[to]); });
        while (!reference_[from].empty()) move_one(from, to);
        break;
      }
      case 4: push(from, op.b); break;
      case 5: corrupt(from, op.b, check); break;
    }
    look(from, check);
    look(to, check);
    if (node_count_ <= 4 || (check.ok() && ++steps_ % 8 == 0)) {
      look_closely(from, check);
      look_closely(to, check);
    }
  }

  void finish(Checker& check) {
    for (u32 list = 0; list < kLists; ++list) {
      look_closely(list, check);
      while (check.ok() && !reference_[list].empty()) pop(list, check);
      pop(list, check);  // and one of none
      look(list, check);
    }
    for (u32 i = 0; i < node_count_ && check.ok(); ++i) {
      check.that("INV-RQ-1", "a node in no list is marked as queued", !nodes_[i].queued);
    }
  }

 private:
  static constexpr u32 kLists = 3;
  static constexpr u32 kNodes = 64;
  static constexpr u64 kNobody = ~u64{0};

  void push(u32 list, u32 count) {
    for (; count > 0 && !free_.empty(); --count) {
      const u32 id = free_.front();
      free_.pop_front();
      really([&] { real_[list].push_back(nodes_[id]); });
      reference_[list].push_back(id);
    }
  }

  void pop(u32 list, Checker& check) {
    const Node* node = really([&] { return real_[list].pop_front(); });
    u64 expected = kNobody;
    if (!reference_[list].empty()) {
      expected = reference_[list].front();
      reference_[list].pop_front();
      free_.push_back(static_cast<u32>(expected));
    }
    check.same("INV-RQ-3", "pop_front", node == nullptr ? kNobody : node->id, expected);
    if (node != nullptr) check.that("INV-RQ-1", "queued after pop_front", !node->queued);
  }

  void move_one(u32 from, u32 to) {
    reference_[to].push_back(reference_[from].front());
    reference_[from].pop_front();
  }

  // A damaged list is noticed; then the damage is undone.
  void corrupt(u32 list, u32 which, Checker& check) {
    const auto& reference = reference_[list];
    if (reference.empty()) return;
    Node& node = nodes_[reference[which / 2 % reference.size()]];
    const auto noticed = [&] {
      return really([&] { return !consistent(real_[list], node_count_); });
    };
    if (which % 2 == 0) {
      node.queued = false;
      check.that("INV-RQ-1", "a node's mark is lost, and the audit finds nothing", noticed());
      node.queued = true;
    } else {
      Node* const next = node.next;
      node.next = next == nullptr ? &node : nullptr;  // a loop, or a part cut off
      check.that("INV-RQ-2", "a link is wrong, and the audit finds nothing", noticed());
      node.next = next;
    }
  }

  void look(u32 list, Checker& check) {
    const auto& real = real_[list];
    const auto& reference = reference_[list];
    check.same("INV-RQ-2", "count", real.count(), reference.size());
    check.same("INV-RQ-2", "empty", real.empty(), reference.empty());
    check.same("INV-RQ-3", "front", real.front() == nullptr ? kNobody : real.front()->id,
               reference.empty() ? kNobody : reference.front());
  }

  // Takes time in proportion to the list.
  void look_closely(u32 list, Checker& check) {
    const auto& real = real_[list];
    const auto& reference = reference_[list];
    check.that("INV-RQ-2", "audit", really([&] { return consistent(real, node_count_); }));
    if (!reference.empty()) {
      check.that("INV-RQ-2", "audit with a bound too low",
                 !consistent(real, static_cast<u32>(reference.size()) - 1));
    }
    const Node* node = real.front();
    for (usize i = 0; i < reference.size() && check.ok(); ++i, node = node->next) {
      if (!check.that("INV-RQ-2", "a link is missing", node != nullptr)) return;
      check.same("INV-RQ-3", "order", node->id, reference[i]);
    }
  }

  std::array<Node, kNodes> nodes_;
  std::array<core::List<Node>, kLists> real_;
  std::array<std::deque<u32>, kLists> reference_;
  std::deque<u32> free_;
  u32 node_count_ = 0;
  u32 steps_ = 0;
};

GVT_MODEL_END

}  // namespace gvt::model
