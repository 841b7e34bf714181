// SPDX-License-Identifier: MIT
//
// ready_queue_test.cpp - the contract of core/ready_queue.hpp, for every queue there is and for
// tiny and real local capacities.
#include "core/ready_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
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

// A queue of any type: the tests are compiled once, not once for each of the types.
class AnyQueue {
 public:
  AnyQueue() = default;
  AnyQueue(const AnyQueue&) = delete;
  AnyQueue& operator=(const AnyQueue&) = delete;
  virtual ~AnyQueue() = default;
  virtual void push(u32 worker, Node& node) noexcept = 0;
  virtual void push_all(u32 worker, List<Node>& batch) noexcept = 0;
  virtual void push_global(List<Node>& batch) noexcept = 0;
  virtual Node* pop(u32 worker) noexcept = 0;
  virtual Node* steal(u32 worker) noexcept = 0;
  virtual bool any_ready() const noexcept = 0;
  virtual bool consistent(u32 limit) const noexcept = 0;
};

template <class Q, QueueKind kind>
class QueueOf final : public AnyQueue {
 public:
  QueueOf(u32 workers, u32 max_threads)
      : workers_(workers),
        max_threads_(max_threads),
        memory_(Q::required_bytes(workers, max_threads)) {
    queue_.init(memory_.data(), workers, max_threads, kind);
  }
  void push(u32 worker, Node& node) noexcept override { queue_.push(worker, node); }
  void push_all(u32 worker, List<Node>& batch) noexcept override { queue_.push_all(worker, batch); }
  void push_global(List<Node>& batch) noexcept override { queue_.push_global(batch); }
  Node* pop(u32 worker) noexcept override { return queue_.pop(worker); }
  Node* steal(u32 worker) noexcept override { return queue_.steal(worker); }
  bool any_ready() const noexcept override { return queue_.any_ready(); }
  bool consistent(u32 limit) const noexcept override {
    return model::consistent(queue_, memory_.data(), workers_, max_threads_, limit);
  }

 private:
  const u32 workers_;
  const u32 max_threads_;
  test::AlignedBytes memory_;
  Q queue_;
};

struct Case {
  const char* name;
  u32 capacity;
  std::unique_ptr<AnyQueue> (*make)(u32 workers, u32 max_threads);
};

template <class Q, QueueKind kind = QueueKind::simple>
std::unique_ptr<AnyQueue> make(u32 workers, u32 max_threads) {
  return std::make_unique<QueueOf<Q, kind>>(workers, max_threads);
}

const Case kCases[] = {
    {"simple_2", 2, make<SimpleReadyQueue<P, Node, 2>>},
    {"simple_4", 4, make<SimpleReadyQueue<P, Node, 4>>},
    {"simple", 256, make<SimpleReadyQueue<P, Node>>},
    {"lock_free_2", 2, make<LockFreeReadyQueue<P, Node, 2>>},
    {"lock_free_4", 4, make<LockFreeReadyQueue<P, Node, 4>>},
    {"lock_free", 256, make<LockFreeReadyQueue<P, Node>>},
    {"wrapping_2", 2, make<WrappingQueue<2>>},
    {"wrapping_4", 4, make<WrappingQueue<4>>},
    {"wrapping", 256, make<WrappingQueue<256>>},
    {"selected_simple", 256, make<SelectedReadyQueue<P, Node>, QueueKind::simple>},
    {"selected_lock_free", 256, make<SelectedReadyQueue<P, Node>, QueueKind::lock_free>},
};

// How a failure names its queue.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class ReadyQueueTest : public testing::TestWithParam<Case> {
 protected:
  void start(u32 workers, u32 max_threads = 2048) {
    queue_ = GetParam().make(workers, max_threads);
  }
  static u32 capacity() { return GetParam().capacity; }
  bool consistent(u32 limit) const { return queue_->consistent(limit); }
  AnyQueue& q() { return *queue_; }

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

  std::unique_ptr<AnyQueue> queue_;
};
INSTANTIATE_TEST_SUITE_P(Queues, ReadyQueueTest, testing::ValuesIn(kCases),
                         [](const auto& c) { return std::string(c.param.name); });

TEST_P(ReadyQueueTest, Empty) {
  for (const u32 workers : {1u, 2u, 3u}) {
    start(workers);
    for (u32 w = 0; w < workers; ++w) {
      EXPECT_EQ(q().pop(w), nullptr);
      EXPECT_EQ(q().steal(w), nullptr);
    }
    EXPECT_FALSE(q().any_ready());
    EXPECT_TRUE(consistent(0));
  }
}

TEST_P(ReadyQueueTest, One) {
  for (const u32 workers : {1u, 2u}) {
    start(workers);
    auto nodes = make_nodes(1);
    for (int i = 0; i < 10; ++i) {
      q().push(0, nodes[0]);
      EXPECT_TRUE(nodes[0].queued);
      EXPECT_TRUE(q().any_ready());
      EXPECT_TRUE(consistent(1));
      EXPECT_EQ(q().pop(0), &nodes[0]);
      EXPECT_FALSE(nodes[0].queued);
      EXPECT_FALSE(q().any_ready());
    }
  }
}

TEST_P(ReadyQueueTest, ALocalQueueIsFirstInFirstOut) {
  for (const u32 workers : {1u, 2u}) {
    start(workers);
    auto nodes = make_nodes(capacity());
    for (int round = 0; round < 3; ++round) {
      push(0, nodes, 0, capacity());  // full
      EXPECT_TRUE(consistent(capacity()));
      EXPECT_EQ(drain(0), numbers(0, capacity()));
    }
  }
}

TEST_P(ReadyQueueTest, OneMoreThanFullLosesNothing) {
  for (u32 extra = 1; extra <= 3; ++extra) {
    start(1);
    const u32 count = capacity() + extra;
    auto nodes = make_nodes(count);
    push(0, nodes, 0, count);
    EXPECT_TRUE(consistent(count));
    auto got = drain(0);
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, numbers(0, count));
    EXPECT_FALSE(q().any_ready());
  }
}

TEST_P(ReadyQueueTest, OverflowGoesToTheGlobalQueueWhereOthersFindIt) {
  start(2);
  const u32 count = capacity() * 5 + 1;
  auto nodes = make_nodes(count);
  push(0, nodes, 0, count);
  EXPECT_TRUE(consistent(count));
  std::vector<u32> got;
  // Worker 1 does not steal here: what it pops lies in the global queue.
  while (Node* n = q().pop(1)) got.push_back(n->value);
  EXPECT_GE(got.size(), capacity() * 4);
  for (const u32 v : drain(0)) got.push_back(v);
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, numbers(0, count));
}

// A push to a full queue must not be dropped, whatever was popped and stolen in between.
TEST_P(ReadyQueueTest, PushAllBehindAnAlmostFullQueue) {
  for (u32 there = 0; there <= capacity(); ++there) {
    start(1);
    const u32 count = there + capacity() + 3;
    auto nodes = make_nodes(count);
    push(0, nodes, 0, there);
    List<Node> batch;
    for (u32 i = there; i < count; ++i) batch.push_back(nodes[i]);
    q().push_all(0, batch);
    ASSERT_TRUE(batch.empty());
    ASSERT_TRUE(consistent(count));
    auto got = drain(0);
    std::sort(got.begin(), got.end());
    ASSERT_EQ(got, numbers(0, count));
  }
}

TEST_P(ReadyQueueTest, TheGlobalQueueIsFirstInFirstOutForOneWorker) {
  start(1);
  auto nodes = make_nodes(20);
  push_global(nodes, 0, 10);
  push_global(nodes, 10, 20);
  EXPECT_TRUE(q().any_ready());
  EXPECT_EQ(drain(0), numbers(0, 20));
}

TEST_P(ReadyQueueTest, AWorkerTakesItsShareOfTheGlobalQueue) {
  start(4);
  constexpr u32 kMany = 40;
  auto nodes = make_nodes(kMany);
  push_global(nodes, 0, kMany);
  ASSERT_NE(q().pop(0), nullptr);
  // At most kMany / 4 + 1 left the global queue: worker 1 finds some there, without stealing.
  u32 rest = 0;
  for (u32 w = 1; w < 4; ++w) {
    ASSERT_NE(q().pop(w), nullptr);
    ++rest;
  }
  EXPECT_EQ(rest, 3u);
}

TEST_P(ReadyQueueTest, StealTakesHalfRoundedUp) {
  std::vector<u32> sizes{1, 2, capacity() - 1, capacity()};
  for (const u32 size : sizes) {
    if (size == 0) continue;
    start(2);
    auto nodes = make_nodes(size);
    push(0, nodes, 0, size);
    Node* first = q().steal(1);
    ASSERT_NE(first, nullptr) << size;
    EXPECT_EQ(first->value, 0u);  // the oldest
    std::vector<u32> thief{first->value};
    for (const u32 v : drain(1)) thief.push_back(v);
    EXPECT_EQ(thief, numbers(0, size - size / 2)) << size;
    EXPECT_EQ(drain(0), numbers(size - size / 2, size)) << size;
  }
}

TEST_P(ReadyQueueTest, StealLooksAtEveryOtherWorker) {
  for (u32 victim = 0; victim < 4; ++victim) {
    for (u32 thief = 0; thief < 4; ++thief) {
      start(4);
      auto nodes = make_nodes(1);
      q().push(victim, nodes[0]);
      EXPECT_EQ(q().steal(thief), thief == victim ? nullptr : &nodes[0]);
    }
  }
}

// INV-STEAL-2: a lone thread behind a hog can be taken, and stolen back.
TEST_P(ReadyQueueTest, ALoneThreadCanBeStolen) {
  start(2);
  auto nodes = make_nodes(1);
  q().push(0, nodes[0]);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(q().steal(1), &nodes[0]);
    EXPECT_EQ(q().steal(1), nullptr);
    EXPECT_EQ(q().pop(0), nullptr);
    q().push(1, nodes[0]);
    EXPECT_EQ(q().steal(0), &nodes[0]);
    q().push(0, nodes[0]);
  }
}

TEST_P(ReadyQueueTest, EverySixtyFirstPopLooksAtTheGlobalQueueFirst) {
  if (capacity() < 64) {
    // A small local queue never holds enough to starve the global one for 61 pops: keep it full.
    start(1);
    auto nodes = make_nodes(2);
    push_global(nodes, 1, 2);
    u32 pops = 0;
    q().push(0, nodes[0]);
    for (;;) {
      Node* n = q().pop(0);
      ASSERT_NE(n, nullptr);
      ++pops;
      if (n->value == 1) break;
      q().push(0, *n);
      ASSERT_LE(pops, kGlobalInterval);
    }
    EXPECT_EQ(pops, kGlobalInterval);
    return;
  }
  start(1);
  auto nodes = make_nodes(200);
  push(0, nodes, 0, 199);
  push_global(nodes, 199, 200);
  for (u32 pops = 1; pops <= 199; ++pops) {
    const Node* n = q().pop(0);
    ASSERT_NE(n, nullptr);
    EXPECT_EQ(n->value == 199, pops == kGlobalInterval) << pops;
  }
}

TEST_P(ReadyQueueTest, RandomOperationsOnThreeWorkersLoseNothing) {
  test::Random random(test::printed_seed());
  const u32 count = capacity() * 3 + 5;
  start(3);
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
          q().push(w, node);
          ++queued;
        }
        break;
      case 2: {
        List<Node> batch;
        for (u32 n = random.below(capacity() + 2); n > 0; --n) {
          Node& some = nodes[random.below(count)];
          if (!some.queued) batch.push_back(some);
        }
        queued += batch.count();
        if (random.one_in(2)) {
          q().push_all(w, batch);
        } else {
          q().push_global(batch);
        }
        ASSERT_TRUE(batch.empty());
        break;
      }
      case 3: taken = q().steal(w); break;
      default:
        taken = q().pop(w);
        for (u32 more = random.below(capacity()); taken != nullptr && more > 0; --more) {
          --queued;
          taken = q().pop(w);
        }
        break;
    }
    if (taken != nullptr) {
      ASSERT_FALSE(taken->queued);
      --queued;
    }
    ASSERT_EQ(q().any_ready(), queued != 0);
    if (step % 64 == 0) {
      ASSERT_TRUE(consistent(count));
      u32 marked = 0;
      for (const Node& n : nodes) marked += n.queued ? 1 : 0;
      ASSERT_EQ(marked, queued);
    }
  }
  for (u32 w = 0; w < 3; ++w) {
    while (q().pop(w) != nullptr) --queued;
  }
  EXPECT_EQ(queued, 0u);
}

// One owner, two thieves, all on OS threads of their own: every item is consumed exactly once.
TEST_P(ReadyQueueTest, OwnerAndTwoThievesConsumeEachItemOnce) {
  const u32 items = test::scaled(200'000);
  start(3, items);
  auto nodes = make_nodes(items);
  std::vector<std::atomic<u32>> consumed(items);
  std::atomic<u32> total{0};
  auto& queue = q();
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
  EXPECT_TRUE(consistent(0));
}

// Two items pass through a queue of three workers for ever: what is stolen comes back.
TEST_P(ReadyQueueTest, FewItemsAmongManyThieves) {
  const u32 rounds = test::scaled(100'000);
  start(3);
  auto nodes = make_nodes(2);
  std::atomic<u32> taken{0};
  auto& queue = q();
  push(0, nodes, 0, 2);
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

TEST_P(ReadyQueueTest, ADoublePushPanics) {
  start(2);
  auto nodes = make_nodes(1);
  q().push(0, nodes[0]);
  EXPECT_PANIC(q().push(0, nodes[0]), "INV-RQ-1");
  EXPECT_PANIC(q().push(1, nodes[0]), "INV-RQ-1");
}

TEST_P(ReadyQueueTest, ANodeMarkedAsNotQueuedIsSeen) {
  start(1);
  auto nodes = make_nodes(1);
  q().push(0, nodes[0]);
  nodes[0].queued = false;
  EXPECT_FALSE(consistent(1));
  EXPECT_PANIC((void)q().pop(0), "INV-RQ-1");
  nodes[0].queued = true;
}

// More threads than exist: each is marked once, so they must be somebody else's.
TEST(ReadyQueueDeathTest, AGlobalQueueThatIsFullPanics) {
  GlobalQueue<P, Node> queue;
  test::AlignedBytes memory(queue.required_bytes(4));
  queue.init(memory.data(), 4);
  std::vector<Node> nodes(5);
  Node* pointers[5];
  for (int i = 0; i < 5; ++i) pointers[i] = &nodes[static_cast<std::size_t>(i)];
  queue.push(pointers, 4);
  EXPECT_PANIC(queue.push(pointers + 4, 1), "INV-GQ-1");
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
