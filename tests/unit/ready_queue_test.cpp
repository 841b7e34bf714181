// SPDX-License-Identifier: MIT
//
// ready_queue_test.cpp - the contract of core/ready_queue.hpp, for every queue there is and for
// tiny and real local capacities.
#include "core/ready_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "core/lock_free_ready_queue.hpp"
#include "core/selected_ready_queue.hpp"
#include "core/simple_ready_queue.hpp"
#include "model/consistent.hpp"
#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/ports.hpp"
#include "tests/support/random.hpp"

namespace gvt::core {
namespace {

using test::make_nodes;
using test::Node;
using P = LinuxPort;

template <class Q, u32 capacity, QueueKind kind = QueueKind::simple>
struct Case {
  using Queue = Q;
  static constexpr u32 kCapacity = capacity;
  static constexpr QueueKind kKind = kind;
};

// LockFreeReadyQueue with indexes that wrap after two pushes.
template <u32 capacity>
struct WrappingQueue : LockFreeReadyQueue<P, Node, capacity> {
  void init(void* memory, u32 workers, u32 max_threads, QueueKind kind) noexcept {
    LockFreeReadyQueue<P, Node, capacity>::init(memory, workers, max_threads, kind, ~u32{0} - 1);
  }
};

static_assert(ReadyQueue<SimpleReadyQueue<P, Node>, Node>);
static_assert(ReadyQueue<LockFreeReadyQueue<P, Node>, Node>);
static_assert(ReadyQueue<SelectedReadyQueue<P, Node>, Node>);
static_assert(ReadyQueue<WrappingQueue<4>, Node>);

using Cases =
    testing::Types<Case<SimpleReadyQueue<P, Node, 2>, 2>, Case<SimpleReadyQueue<P, Node, 4>, 4>,
                   Case<SimpleReadyQueue<P, Node>, 256>, Case<LockFreeReadyQueue<P, Node, 2>, 2>,
                   Case<LockFreeReadyQueue<P, Node, 4>, 4>, Case<LockFreeReadyQueue<P, Node>, 256>,
                   Case<WrappingQueue<2>, 2>, Case<WrappingQueue<4>, 4>,
                   Case<WrappingQueue<256>, 256>,
                   Case<SelectedReadyQueue<P, Node>, 256, QueueKind::simple>,
                   Case<SelectedReadyQueue<P, Node>, 256, QueueKind::lock_free>>;

template <class C>
class ReadyQueueTest : public testing::Test {
 protected:
  using Queue = typename C::Queue;
  static constexpr u32 kCapacity = C::kCapacity;

  void start(u32 workers, u32 max_threads = 2048) {
    memory_ = std::make_unique<test::AlignedBytes>(Queue::required_bytes(workers, max_threads));
    queue_ = std::make_unique<Queue>();
    queue_->init(memory_->data(), workers, max_threads, C::kKind);
    workers_ = workers;
    max_threads_ = max_threads;
  }
  bool consistent(u32 limit) const {
    return model::consistent(*queue_, memory_->data(), workers_, max_threads_, limit);
  }
  Queue& q() { return *queue_; }

  void push(u32 worker, std::vector<Node>& nodes, u32 begin, u32 end) {
    for (u32 i = begin; i < end; ++i) q().push(worker, nodes[i]);
  }
  void push_global(std::vector<Node>& nodes, u32 begin, u32 end) {
    List<Node> batch;
    for (u32 i = begin; i < end; ++i) batch.push_back(nodes[i]);
    q().push_global(batch);
    EXPECT_TRUE(batch.empty());
  }
  // What the worker pops until there is nothing more.
  std::vector<u32> drain(u32 worker) {
    std::vector<u32> values;
    while (Node* n = q().pop(worker)) {
      EXPECT_FALSE(n->queued);
      values.push_back(n->value);
    }
    return values;
  }
  static std::vector<u32> numbers(u32 begin, u32 end) {
    std::vector<u32> v;
    for (u32 i = begin; i < end; ++i) v.push_back(i);
    return v;
  }

  std::unique_ptr<test::AlignedBytes> memory_;
  std::unique_ptr<Queue> queue_;
  u32 workers_ = 0;
  u32 max_threads_ = 0;
};
TYPED_TEST_SUITE(ReadyQueueTest, Cases);

TYPED_TEST(ReadyQueueTest, Empty) {
  for (const u32 workers : {1u, 2u, 3u}) {
    this->start(workers);
    for (u32 w = 0; w < workers; ++w) {
      EXPECT_EQ(this->q().pop(w), nullptr);
      EXPECT_EQ(this->q().steal(w), nullptr);
    }
    EXPECT_FALSE(this->q().any_ready());
    EXPECT_TRUE(this->consistent(0));
  }
}

TYPED_TEST(ReadyQueueTest, One) {
  for (const u32 workers : {1u, 2u}) {
    this->start(workers);
    auto nodes = make_nodes(1);
    for (int i = 0; i < 10; ++i) {
      this->q().push(0, nodes[0]);
      EXPECT_TRUE(nodes[0].queued);
      EXPECT_TRUE(this->q().any_ready());
      EXPECT_TRUE(this->consistent(1));
      EXPECT_EQ(this->q().pop(0), &nodes[0]);
      EXPECT_FALSE(nodes[0].queued);
      EXPECT_FALSE(this->q().any_ready());
    }
  }
}

TYPED_TEST(ReadyQueueTest, ALocalQueueIsFirstInFirstOut) {
  for (const u32 workers : {1u, 2u}) {
    this->start(workers);
    auto nodes = make_nodes(this->kCapacity);
    for (int round = 0; round < 3; ++round) {
      this->push(0, nodes, 0, this->kCapacity);  // full
      EXPECT_TRUE(this->consistent(this->kCapacity));
      EXPECT_EQ(this->drain(0), this->numbers(0, this->kCapacity));
    }
  }
}

TYPED_TEST(ReadyQueueTest, OneMoreThanFullLosesNothing) {
  for (u32 extra = 1; extra <= 3; ++extra) {
    this->start(1);
    const u32 count = this->kCapacity + extra;
    auto nodes = make_nodes(count);
    this->push(0, nodes, 0, count);
    EXPECT_TRUE(this->consistent(count));
    auto got = this->drain(0);
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, this->numbers(0, count));
    EXPECT_FALSE(this->q().any_ready());
  }
}

TYPED_TEST(ReadyQueueTest, OverflowGoesToTheGlobalQueueWhereOthersFindIt) {
  this->start(2);
  const u32 count = this->kCapacity * 5 + 1;
  auto nodes = make_nodes(count);
  this->push(0, nodes, 0, count);
  EXPECT_TRUE(this->consistent(count));
  std::vector<u32> got;
  // Worker 1 does not steal here: what it pops lies in the global queue.
  while (Node* n = this->q().pop(1)) got.push_back(n->value);
  EXPECT_GE(got.size(), this->kCapacity * 4);
  for (const u32 v : this->drain(0)) got.push_back(v);
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, this->numbers(0, count));
}

// A push to a full queue must not be dropped, whatever was popped and stolen in between.
TYPED_TEST(ReadyQueueTest, PushAllBehindAnAlmostFullQueue) {
  for (u32 there = 0; there <= this->kCapacity; ++there) {
    this->start(1);
    const u32 count = there + this->kCapacity + 3;
    auto nodes = make_nodes(count);
    this->push(0, nodes, 0, there);
    List<Node> batch;
    for (u32 i = there; i < count; ++i) batch.push_back(nodes[i]);
    this->q().push_all(0, batch);
    ASSERT_TRUE(batch.empty());
    ASSERT_TRUE(this->consistent(count));
    auto got = this->drain(0);
    std::sort(got.begin(), got.end());
    ASSERT_EQ(got, this->numbers(0, count));
  }
}

TYPED_TEST(ReadyQueueTest, TheGlobalQueueIsFirstInFirstOutForOneWorker) {
  this->start(1);
  auto nodes = make_nodes(20);
  this->push_global(nodes, 0, 10);
  this->push_global(nodes, 10, 20);
  EXPECT_TRUE(this->q().any_ready());
  EXPECT_EQ(this->drain(0), this->numbers(0, 20));
}

TYPED_TEST(ReadyQueueTest, AWorkerTakesItsShareOfTheGlobalQueue) {
  this->start(4);
  constexpr u32 kMany = 40;
  auto nodes = make_nodes(kMany);
  this->push_global(nodes, 0, kMany);
  ASSERT_NE(this->q().pop(0), nullptr);
  // At most kMany / 4 + 1 left the global queue: worker 1 finds some there, without stealing.
  u32 rest = 0;
  for (u32 w = 1; w < 4; ++w) {
    ASSERT_NE(this->q().pop(w), nullptr);
    ++rest;
  }
  EXPECT_EQ(rest, 3u);
}

TYPED_TEST(ReadyQueueTest, StealTakesHalfRoundedUp) {
  std::vector<u32> sizes{1, 2, this->kCapacity - 1, this->kCapacity};
  for (const u32 size : sizes) {
    if (size == 0) continue;
    this->start(2);
    auto nodes = make_nodes(size);
    this->push(0, nodes, 0, size);
    Node* first = this->q().steal(1);
    ASSERT_NE(first, nullptr) << size;
    EXPECT_EQ(first->value, 0u);  // the oldest
    std::vector<u32> thief{first->value};
    for (const u32 v : this->drain(1)) thief.push_back(v);
    EXPECT_EQ(thief, this->numbers(0, size - size / 2)) << size;
    EXPECT_EQ(this->drain(0), this->numbers(size - size / 2, size)) << size;
  }
}

TYPED_TEST(ReadyQueueTest, StealLooksAtEveryOtherWorker) {
  for (u32 victim = 0; victim < 4; ++victim) {
    for (u32 thief = 0; thief < 4; ++thief) {
      this->start(4);
      auto nodes = make_nodes(1);
      this->q().push(victim, nodes[0]);
      EXPECT_EQ(this->q().steal(thief), thief == victim ? nullptr : &nodes[0]);
    }
  }
}

// INV-STEAL-2: a lone thread behind a hog can be taken, and stolen back.
TYPED_TEST(ReadyQueueTest, ALoneThreadCanBeStolen) {
  this->start(2);
  auto nodes = make_nodes(1);
  this->q().push(0, nodes[0]);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(this->q().steal(1), &nodes[0]);
    EXPECT_EQ(this->q().steal(1), nullptr);
    EXPECT_EQ(this->q().pop(0), nullptr);
    this->q().push(1, nodes[0]);
    EXPECT_EQ(this->q().steal(0), &nodes[0]);
    this->q().push(0, nodes[0]);
  }
}

TYPED_TEST(ReadyQueueTest, EverySixtyFirstPopLooksAtTheGlobalQueueFirst) {
  if (this->kCapacity < 64) {
    // A small local queue never holds enough to starve the global one for 61 pops: keep it full.
    this->start(1);
    auto nodes = make_nodes(2);
    this->push_global(nodes, 1, 2);
    u32 pops = 0;
    this->q().push(0, nodes[0]);
    for (;;) {
      Node* n = this->q().pop(0);
      ASSERT_NE(n, nullptr);
      ++pops;
      if (n->value == 1) break;
      this->q().push(0, *n);
      ASSERT_LE(pops, kGlobalInterval);
    }
    EXPECT_EQ(pops, kGlobalInterval);
    return;
  }
  this->start(1);
  auto nodes = make_nodes(200);
  this->push(0, nodes, 0, 199);
  this->push_global(nodes, 199, 200);
  for (u32 pops = 1; pops <= 199; ++pops) {
    const Node* n = this->q().pop(0);
    ASSERT_NE(n, nullptr);
    EXPECT_EQ(n->value == 199, pops == kGlobalInterval) << pops;
  }
}

TYPED_TEST(ReadyQueueTest, RandomOperationsOnThreeWorkersLoseNothing) {
  test::Random random(test::printed_seed());
  const u32 count = this->kCapacity * 3 + 5;
  this->start(3);
  auto nodes = make_nodes(count);
  u32 queued = 0;
  for (u32 step = 0; step < 20'000; ++step) {
    const u32 w = random.below(3);
    Node& node = nodes[random.below(count)];
    Node* taken = nullptr;
    switch (random.below(6)) {
      case 0:
      case 1:
        if (!node.queued) {
          this->q().push(w, node);
          ++queued;
        }
        break;
      case 2: {
        List<Node> batch;
        for (u32 n = random.below(this->kCapacity + 2); n > 0; --n) {
          Node& some = nodes[random.below(count)];
          if (!some.queued) batch.push_back(some);
        }
        queued += batch.count();
        if (random.one_in(2)) {
          this->q().push_all(w, batch);
        } else {
          this->q().push_global(batch);
        }
        ASSERT_TRUE(batch.empty());
        break;
      }
      case 3: taken = this->q().steal(w); break;
      default:
        taken = this->q().pop(w);
        for (u32 more = random.below(this->kCapacity); taken != nullptr && more > 0; --more) {
          --queued;
          taken = this->q().pop(w);
        }
        break;
    }
    if (taken != nullptr) {
      ASSERT_FALSE(taken->queued);
      --queued;
    }
    ASSERT_EQ(this->q().any_ready(), queued != 0);
    if (step % 64 == 0) {
      ASSERT_TRUE(this->consistent(count));
      u32 marked = 0;
      for (const Node& n : nodes) marked += n.queued ? 1 : 0;
      ASSERT_EQ(marked, queued);
    }
  }
  for (u32 w = 0; w < 3; ++w) {
    while (this->q().pop(w) != nullptr) --queued;
  }
  EXPECT_EQ(queued, 0u);
}

// One owner, two thieves, all on OS threads of their own: every item is consumed exactly once.
TYPED_TEST(ReadyQueueTest, OwnerAndTwoThievesConsumeEachItemOnce) {
  const u32 items = test::scaled(200'000);
  this->start(3, items);
  auto nodes = make_nodes(items);
  std::vector<std::atomic<u32>> consumed(items);
  std::atomic<u32> total{0};
  auto& queue = this->q();
  const auto take = [&](Node* n) {
    if (n == nullptr) return false;
    consumed[n->value].fetch_add(1, std::memory_order_relaxed);
    total.fetch_add(1, std::memory_order_relaxed);
    return true;
  };
  std::vector<std::thread> thieves;
  for (u32 thief = 1; thief <= 2; ++thief) {
    thieves.emplace_back([&, thief] {
      while (total.load(std::memory_order_relaxed) < items) {
        if (take(queue.steal(thief))) {
          while (take(queue.pop(thief))) {
          }
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  test::Random random(test::printed_seed());
  for (u32 i = 0; i < items; ++i) {
    queue.push(0, nodes[i]);
    if (random.one_in(3)) take(queue.pop(0));
  }
  while (total.load(std::memory_order_relaxed) < items) {
    if (!take(queue.pop(0))) std::this_thread::yield();
  }
  for (auto& t : thieves) t.join();
  for (u32 i = 0; i < items; ++i) ASSERT_EQ(consumed[i].load(), 1u) << i;
  EXPECT_FALSE(queue.any_ready());
  EXPECT_TRUE(this->consistent(0));
}

// Two items pass through a queue of three workers for ever: what is stolen comes back.
TYPED_TEST(ReadyQueueTest, FewItemsAmongManyThieves) {
  const u32 rounds = test::scaled(100'000);
  this->start(3);
  auto nodes = make_nodes(2);
  std::atomic<u32> taken{0};
  auto& queue = this->q();
  this->push(0, nodes, 0, 2);
  std::vector<std::thread> threads;
  for (u32 w = 0; w < 3; ++w) {
    threads.emplace_back([&, w] {
      while (taken.load(std::memory_order_relaxed) < rounds) {
        Node* n = queue.pop(w);
        if (n == nullptr) n = queue.steal(w);
        if (n == nullptr) {
          std::this_thread::yield();
          continue;
        }
        taken.fetch_add(1, std::memory_order_relaxed);
        queue.push(w, *n);
      }
    });
  }
  for (auto& t : threads) t.join();
  u32 left = 0;
  for (u32 w = 0; w < 3; ++w)
    while (queue.pop(w) != nullptr) ++left;
  EXPECT_EQ(left, 2u);
}

TYPED_TEST(ReadyQueueTest, ADoublePushPanics) {
  this->start(2);
  auto nodes = make_nodes(1);
  this->q().push(0, nodes[0]);
  EXPECT_PANIC(this->q().push(0, nodes[0]), "INV-RQ-1");
  EXPECT_PANIC(this->q().push(1, nodes[0]), "INV-RQ-1");
}

TYPED_TEST(ReadyQueueTest, ANodeMarkedAsNotQueuedIsSeen) {
  this->start(1);
  auto nodes = make_nodes(1);
  this->q().push(0, nodes[0]);
  nodes[0].queued = false;
  EXPECT_FALSE(this->consistent(1));
  EXPECT_PANIC((void)this->q().pop(0), "INV-RQ-1");
  nodes[0].queued = true;
}

// ---- traps ----

template <class Q>
void steal_the_only_one() {
  test::AlignedBytes memory(Q::required_bytes(2, 16'384));
  Q queue;
  queue.init(memory.data(), 2, 16'384, QueueKind::lock_free);
  Node node;
  queue.push(0, node);
  EXPECT_EQ(queue.steal(1), &node);  // half of one, rounded down, would be none
}

TEST(Trap, StealHalfOfOne) {
  steal_the_only_one<SimpleReadyQueue<P, Node>>();
  steal_the_only_one<LockFreeReadyQueue<P, Node>>();
}

template <class Q>
void overfill(u32 count) {
  test::AlignedBytes memory(Q::required_bytes(2, 16'384));
  Q queue;
  queue.init(memory.data(), 2, 16'384, QueueKind::lock_free);
  auto nodes = make_nodes(count);
  for (Node& n : nodes) queue.push(0, n);
  u32 got = 0;
  while (queue.pop(0) != nullptr) ++got;
  EXPECT_EQ(got, count);
}

TEST(Trap, FailedPushIgnored) {
  overfill<SimpleReadyQueue<P, Node, 2>>(100);
  overfill<LockFreeReadyQueue<P, Node, 2>>(100);
  overfill<SimpleReadyQueue<P, Node>>(10'000);
  overfill<LockFreeReadyQueue<P, Node>>(10'000);
}

// The look before sleeping must find a thread in any worker's local queue, not only the global one.
template <class Q>
void look_everywhere() {
  test::AlignedBytes memory(Q::required_bytes(3, 16'384));
  Q queue;
  queue.init(memory.data(), 3, 16'384, QueueKind::lock_free);
  Node node;
  for (u32 w = 0; w < 3; ++w) {
    queue.push(w, node);
    EXPECT_TRUE(queue.any_ready()) << w;
    EXPECT_EQ(queue.pop(w), &node);
    EXPECT_FALSE(queue.any_ready());
  }
}

TEST(Trap, ParkThatOnlyLooksAtTheGlobalQueue) {
  look_everywhere<SimpleReadyQueue<P, Node>>();
  look_everywhere<LockFreeReadyQueue<P, Node>>();
}

// From each index just before the wrap: fill, steal half, drain.
TEST(Trap, RingIndexWrap) {
  for (u32 back = 0; back < 12; ++back) {
    LockFreeReadyQueue<P, Node, 4> queue;
    test::AlignedBytes memory(decltype(queue)::required_bytes(2, 16'384));
    queue.init(memory.data(), 2, 16'384, QueueKind::lock_free, u32{0} - back);
    auto nodes = make_nodes(4);
    for (u32 round = 0; round < 8; ++round) {
      for (Node& n : nodes) queue.push(0, n);
      ASSERT_TRUE(queue.any_ready());
      ASSERT_TRUE(model::consistent(queue, memory.data(), 2, 16'384, 4));
      ASSERT_EQ(queue.steal(1), &nodes[0]);
      ASSERT_EQ(queue.pop(1), &nodes[1]);
      ASSERT_EQ(queue.pop(1), nullptr);
      ASSERT_EQ(queue.pop(0), &nodes[2]);
      ASSERT_EQ(queue.pop(0), &nodes[3]);
      ASSERT_FALSE(queue.any_ready());
    }
  }
}

}  // namespace
}  // namespace gvt::core
