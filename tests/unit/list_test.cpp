// SPDX-License-Identifier: MIT
//
// list_test.cpp - core/list.hpp: order, moves, counts, and the panics of a broken link.
#include "core/list.hpp"

#include <gtest/gtest.h>

#include <deque>

#include "model/consistent.hpp"
#include "tests/support/death.hpp"
#include "tests/support/ports.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

using test::make_nodes;
using test::Node;
using NodeList = List<Node>;

TEST(List, Empty) {
  NodeList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.count(), 0u);
  EXPECT_EQ(list.front(), nullptr);
  EXPECT_EQ(list.pop_front(), nullptr);
  EXPECT_TRUE(model::consistent(list, 0));
}

TEST(List, One) {
  NodeList list;
  Node node;
  list.push_back(node);
  EXPECT_TRUE(node.queued);
  EXPECT_EQ(list.front(), &node);
  EXPECT_EQ(list.count(), 1u);
  EXPECT_TRUE(model::consistent(list, 1));
  EXPECT_FALSE(model::consistent(list, 0));
  EXPECT_EQ(list.pop_front(), &node);
  EXPECT_FALSE(node.queued);
  EXPECT_EQ(node.next, nullptr);
  EXPECT_TRUE(list.empty());
  list.push_back(node);  // again
  EXPECT_EQ(list.pop_front(), &node);
}

TEST(List, FirstInFirstOut) {
  auto nodes = make_nodes(5);
  NodeList list;
  for (Node& n : nodes) list.push_back(n);
  EXPECT_TRUE(model::consistent(list, 5));
  for (Node& n : nodes) EXPECT_EQ(list.pop_front(), &n);
  EXPECT_TRUE(list.empty());
}

TEST(List, MoveFrontMovesAtMostAll) {
  auto nodes = make_nodes(5);
  NodeList from;
  NodeList to;
  for (Node& n : nodes) from.push_back(n);
  from.move_front(0, to);
  EXPECT_EQ(to.count(), 0u);
  from.move_front(2, to);
  EXPECT_EQ(from.count(), 3u);
  EXPECT_EQ(to.count(), 2u);
  from.move_front(100, to);
  EXPECT_TRUE(from.empty());
  for (Node& n : nodes) EXPECT_EQ(to.pop_front(), &n);
}

TEST(List, MoveAllKeepsOrderAndEmptiesTheSource) {
  auto nodes = make_nodes(6);
  NodeList a;
  NodeList b;
  a.move_front(~u32{0}, b);  // nothing
  EXPECT_TRUE(b.empty());
  for (u32 i = 0; i < 3; ++i) a.push_back(nodes[i]);
  a.move_front(~u32{0}, b);  // into an empty one
  EXPECT_TRUE(a.empty());
  for (u32 i = 3; i < 6; ++i) a.push_back(nodes[i]);
  a.move_front(~u32{0}, b);  // behind others
  EXPECT_EQ(b.count(), 6u);
  EXPECT_TRUE(model::consistent(b, 6));
  for (Node& n : nodes) EXPECT_EQ(b.pop_front(), &n);
  a.push_back(nodes[0]);
  EXPECT_EQ(a.count(), 1u);
}

TEST(List, ConsistencySeesABrokenLink) {
  auto nodes = make_nodes(3);
  NodeList list;
  for (Node& n : nodes) list.push_back(n);
  nodes[1].next = nullptr;
  EXPECT_FALSE(model::consistent(list, 3));
  nodes[1].next = &nodes[2];
  EXPECT_TRUE(model::consistent(list, 3));
  nodes[1].queued = false;
  EXPECT_FALSE(model::consistent(list, 3));
  nodes[1].queued = true;
  nodes[2].next = &nodes[0];  // a ring: ends at the limit
  EXPECT_FALSE(model::consistent(list, 3));
}

TEST(List, RandomOperationsAgainstADeque) {
  test::Random random(test::printed_seed());
  auto nodes = make_nodes(64);
  NodeList lists[2];
  std::deque<Node*> want[2];
  for (u32 step = 0; step < 20'000; ++step) {
    const u32 which = random.below(2);
    Node& node = nodes[random.below(64)];
    switch (random.below(5)) {
      case 0:
      case 1:
        if (!node.queued) {
          lists[which].push_back(node);
          want[which].push_back(&node);
        }
        break;
      case 2: {
        Node* expected = want[which].empty() ? nullptr : want[which].front();
        if (expected != nullptr) want[which].pop_front();
        ASSERT_EQ(lists[which].pop_front(), expected);
        break;
      }
      case 3: {
        const u32 n = random.below(4);
        lists[which].move_front(n, lists[1 - which]);
        for (u32 i = 0; i < n && !want[which].empty(); ++i) {
          want[1 - which].push_back(want[which].front());
          want[which].pop_front();
        }
        break;
      }
      default:
        if (random.one_in(8)) {
          lists[which].move_front(~u32{0}, lists[1 - which]);
          for (Node* n : want[which]) want[1 - which].push_back(n);
          want[which].clear();
        }
    }
    for (u32 i = 0; i < 2; ++i) {
      ASSERT_EQ(lists[i].count(), want[i].size());
      ASSERT_TRUE(model::consistent(lists[i], 64));
    }
  }
}

TEST(ListDeathTest, PushOfAQueuedNodePanics) {
  NodeList list;
  Node node;
  list.push_back(node);
  EXPECT_PANIC(list.push_back(node), "INV-RQ-1");
  NodeList other;
  EXPECT_PANIC(other.push_back(node), "INV-RQ-1");
}

TEST(ListDeathTest, PopOfANodeThatSomebodyElseTookPanics) {
  NodeList list;
  Node node;
  list.push_back(node);
  node.queued = false;
  EXPECT_PANIC(list.pop_front(), "INV-RQ-1");
}

TEST(ListDeathTest, ALostLinkPanics) {
  auto nodes = make_nodes(2);
  NodeList list;
  for (Node& n : nodes) list.push_back(n);
  nodes[0].next = nullptr;
  EXPECT_PANIC(list.pop_front(), "INV-RQ-2");
}

}  // namespace
}  // namespace gvt::core
