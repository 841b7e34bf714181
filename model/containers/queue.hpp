// SPDX-License-Identifier: MIT
//
// queue.hpp - every ready queue of core beside deques, one per worker and one for the global queue.
// Written from the contract in core/ready_queue.hpp. Apart from plain operations there is the
// interrupted one: another worker acts just before the n-th atomic access of an operation, and the
// outcome must be that of one of the two orders (linearisability of a pair).
// Invariants: INV-RQ-1, INV-RQ-2, INV-RQ-3, INV-RING-1, INV-STEAL-1, INV-STEAL-2, INV-IDLE-1.
#pragma once

#include <array>

// g++ 12 does not see that at most as many threads come out of the global queue as were asked for;
// it warns of the smallest capacities.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include "core/selected_ready_queue.hpp"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#include "model/consistent.hpp"
#include "model/containers/list.hpp"
#include "model/containers/queue_model.hpp"
#include "model/plain_port.hpp"

namespace gvt::model {

// One interface over the queues under test: template parameters there, a number in the input here.
class AnyQueue {
 public:
  virtual ~AnyQueue() = default;
  virtual u32 capacity() const = 0;
  virtual bool newest_goes_along() const = 0;
  virtual void init(u32 workers, u32 threads, u32 first_index) = 0;
  virtual void push(u32 worker, Node& node) = 0;
  virtual void push_all(u32 worker, core::List<Node>& batch) = 0;
  virtual void push_global(core::List<Node>& batch) = 0;
  virtual Node* pop(u32 worker) = 0;
  virtual Node* steal(u32 thief) = 0;
  virtual bool any_ready() const = 0;
  virtual bool consistent(u32 limit) const = 0;
};

template <class Queue, u32 kCapacity, bool kRing, bool kFirstIndex, QueueKind kKind>
class QueueUnderTest final : public AnyQueue {
  static_assert(core::ReadyQueue<Queue, Node>);

 public:
  u32 capacity() const override { return kCapacity; }
  bool newest_goes_along() const override { return kRing; }
  void init(u32 workers, u32 threads, u32 first_index) override {
    workers_ = workers;
    threads_ = threads;
    queue_.~Queue();
    new (&queue_) Queue{};
    if constexpr (kFirstIndex) {
      queue_.init(memory_, workers, threads, kKind, first_index);
    } else {
      queue_.init(memory_, workers, threads, kKind);
    }
  }
  void push(u32 worker, Node& node) override { queue_.push(worker, node); }
  void push_all(u32 worker, core::List<Node>& batch) override { queue_.push_all(worker, batch); }
  void push_global(core::List<Node>& batch) override { queue_.push_global(batch); }
  Node* pop(u32 worker) override { return queue_.pop(worker); }
  Node* steal(u32 thief) override { return queue_.steal(thief); }
  bool any_ready() const override { return queue_.any_ready(); }
  bool consistent(u32 limit) const override {
    return model::consistent(queue_, memory_, workers_, threads_, limit);
  }

 private:
  alignas(64) std::byte memory_[Queue::required_bytes(kQueueWorkers, kQueueThreads)];
  Queue queue_;
  u32 workers_ = 0;
  u32 threads_ = 0;
};

GVT_MODEL_BEGIN

class QueueRig {
 public:
  static constexpr const char* kName = "ring";
  static constexpr const char* kSetup[] = {"queue", "workers", "below_wrap", "many"};
  static constexpr const char* kOps[] = {"push",        "pop",         "steal",  "push_all",
                                         "push_global", "interrupted", "corrupt"};

  void start(const Program& program, Checker& check) {
    intruder = Intruder{};
    // The tiny ones more often: they reach the edges in fewer operations.
    static constexpr u8 kChoice[] = {0, 1, 2, 3, 4, 5, 2, 1, 0, 2};
    queue_ = queues_[kChoice[program.setup(0) % std::size(kChoice)]];
    workers_ = 1 + (program.setup(1) + 1) % kQueueWorkers;  // 2 by default
    node_count_ = queue_->capacity() < 16 ? 24 : kQueueThreads;
    const u32 below = program.setup(2);  // the rings' indexes wrap after as many pushes
    queue_->init(workers_, node_count_, below == 0 ? 0 : 0u - below);
    model_count_ = 1;
    models_[0].reset(queue_->capacity(), workers_, queue_->newest_goes_along());
    many_ = queue_->capacity() < 16 ? 1 : 1 + program.setup(3) % 64;
    free_.clear();
    fresh_ = 0;
    fuel_ = kFuel;
    look(check, true);
  }

  void step(Op op, Checker& check) {
    const u32 worker = op.a % workers_;
    const u32 count = 1 + (op.b % 8) * many_;
    const u32 code = static_cast<u32>(op.code % std::size(kOps));
    switch (code) {
      case 0: {
        for (u32 i = 0; i < count; ++i) push(worker);
        break;
      }
      case 1: {
        for (u32 i = 0; i < count && check.ok() && pop(worker, check); ++i) {
        }
        break;
      }
      case 2: {
        const u64 real = real_steal(worker);
        expect(check, "steal", real, [&](QueueModel& m) { return m.steal(worker); });
        break;
      }
      case 3:
      case 4: push_batch(worker, count, code == 4, check); break;
      case 5: interrupted(op, check); break;
      case 6: corrupt(op.a, check); break;
    }
    look(check, node_count_ < kQueueThreads);
  }

  void finish(Checker& check) {
    look(check, true);
    for (u32 w = 0; w < workers_; ++w) {
      while (check.ok() && pop(w, check)) {  // at most as often as there are threads
      }
    }
    look(check, true);
    for (u32 i = 0; i < fresh_ && check.ok(); ++i) {
      check.that("INV-RQ-1", "a thread in no queue is marked as queued", !nodes_[i].queued);
    }
  }

 private:
  static constexpr u32 kFuel =
      700;  // pushes in one program: enough to overflow the largest ring twice

  bool any_free() const { return fuel_ > 0 && (fresh_ < node_count_ || !free_.empty()); }

  // A new one, or the one that was free for longest: its twin would be noticed.
  u32 take_free() {
    --fuel_;
    if (fresh_ < node_count_) {
      nodes_[fresh_] = Node{};
      nodes_[fresh_].id = fresh_;
      return fresh_++;
    }
    const u32 id = free_.front();
    free_.pop_front();
    return id;
  }

  void push(u32 worker) {
    if (!any_free()) return;
    const u32 id = take_free();
    queue_->push(worker, nodes_[id]);
    for (u32 i = 0; i < model_count_; ++i) models_[i].push(worker, id);
  }

  void push_batch(u32 worker, u32 count, bool global, Checker& check) {
    core::List<Node> batch;
    outer_ids_.clear();
    for (u32 i = 0; i < count && any_free(); ++i) {
      const u32 id = take_free();
      outer_ids_.push_back(id);
      batch.push_back(nodes_[id]);
    }
    if (global) {
      queue_->push_global(batch);
    } else {
      queue_->push_all(worker, batch);
    }
    for (u32 i = 0; i < model_count_; ++i) {
      for (const u32 id : outer_ids_) {
        const bool fits = !global && models_[i].local[worker].size() < models_[i].capacity;
        (fits ? models_[i].local[worker] : models_[i].global).push_back(id);
      }
    }
    check.that("INV-STEAL-1", "a batch is left over", batch.empty());
  }

  bool pop(u32 worker, Checker& check) {
    const u64 real = real_pop(worker);
    expect(check, "pop", real, [&](QueueModel& m) { return m.pop(worker); });
    return real != kNobody;
  }

  u64 real_pop(u32 worker) { return given_out(queue_->pop(worker)); }
  u64 real_steal(u32 thief) { return given_out(queue_->steal(thief)); }
  u64 given_out(const Node* node) {
    if (node == nullptr) return kNobody;
    free_.push_back(node->id);
    return node->id;
  }

  // A damaged queue is noticed; then the damage is undone.
  void corrupt(u32 which, Checker& check) {
    if (fresh_ == 0) return;
    Node& node = nodes_[which % fresh_];
    if (!node.queued) return;
    node.queued = false;
    check.that("INV-RQ-1", "a thread's mark is lost, and the audit finds nothing",
               !queue_->consistent(node_count_));
    node.queued = true;
    const u32 here = static_cast<u32>(models_[0].global.size());
    if (model_count_ == 1 && here > 0) {
      check.that("INV-GQ-1", "more threads than exist, and the audit finds nothing",
                 !queue_->consistent(here - 1));
    }
  }

  // After an interrupted operation more than one state may be possible. Those that do not give the
  // real answer are dropped; if none does, the answer is wrong.
  template <class F>
  void expect(Checker& check, const char* what, u64 real, F&& f) {
    u64 first = 0;
    u32 left = 0;
    for (u32 i = 0; i < model_count_; ++i) {
      const u64 expected = f(models_[i]);
      if (i == 0) first = expected;
      if (expected != real) continue;
      if (left != i) models_[left] = models_[i];
      ++left;
    }
    const bool lost = real == kNobody || first == kNobody;
    check.same(lost ? "INV-STEAL-1" : "INV-RQ-3", what, real, left > 0 ? real : first);
    if (left > 0) model_count_ = left;
  }

  void look(Checker& check, bool consistency) {
    const bool ready = queue_->any_ready();
    u32 agree = 0;
    for (u32 i = 0; i < model_count_; ++i) agree += models_[i].any_ready() == ready ? 1 : 0;
    check.same("INV-IDLE-1", "any_ready", ready, agree > 0 ? ready : !ready);
    if (consistency) {
      check.that("INV-RQ-2", "audit", queue_->consistent(node_count_));
    }
  }

  // ---- the interrupted operation ----

  // One side of the pair: `count` operations of one worker.
  enum class Act : u8 { pop, push, steal };
  struct Side {
    Act act;
    u32 worker;
    u32 count;
  };
  static constexpr u32 kResultsMax = 16;
  struct Results {
    std::array<u64, kResultsMax> id{};
    u32 count = 0;
    bool operator==(const Results&) const = default;
  };

  // Two workers, so that every other operation is over or not begun. A worker steals when it has
  // nothing itself (the contract's "idle"): between the taking and the keeping of what is stolen
  // the threads are the thief's alone.
  void interrupted(Op op, Checker& check) {
    if (workers_ != 2 || model_count_ > kModelsMax / 3) return;
    const u32 owner = op.a & 1;
    const u32 thief = 1 - owner;
    for (u32 i = 0; i < model_count_; ++i) {
      if (!models_[i].local[thief].empty()) return;
    }
    Side outer{};
    Side inner{};
    const u32 burst = 1 + op.b / 16u % 8;
    switch ((op.a >> 1) % 4) {
      case 0: outer = {Act::pop, owner, 1}, inner = {Act::steal, thief, 1}; break;
      case 1: outer = {Act::push, owner, 1}, inner = {Act::steal, thief, 1}; break;
      case 2: outer = {Act::steal, thief, 1}, inner = {Act::pop, owner, burst}; break;
      case 3: outer = {Act::steal, thief, 1}, inner = {Act::push, owner, burst}; break;
    }
    reserve(outer, outer_ids_);
    reserve(inner, inner_ids_);
    inner_ = inner;
    inner_results_ = {};
    // The last is the claim of a lone thread, which the ring's thief looks at for a while first.
    static constexpr u8 kAccess[] = {1, 2, 3, 4, 5, 6, 7, 67};
    intruder.arm(
        kAccess[op.b % 8], [](void* rig) { static_cast<QueueRig*>(rig)->intrude(); }, this);
    intruder.spurious = op.b >> 7;
    const Results outer_results = act_really(outer, outer_ids_);
    const bool fired = intruder.fired;
    intruder.disarm();

    // Every state that one of the orders leads to, and that gives the answers which were given.
    u32 count = 0;
    const auto keep = [&](const QueueModel& model) {
      if (std::find(possible_.begin(), possible_.begin() + count, model) ==
          possible_.begin() + count) {
        possible_[count++] = model;
      }
    };
    for (u32 i = 0; i < model_count_; ++i) {
      scratch_ = models_[i];
      if (outer_results == act_in(scratch_, outer, outer_ids_) &&
          inner_results_ == (fired ? act_in(scratch_, inner, inner_ids_) : Results{})) {
        keep(scratch_);
      }
      if (!fired) continue;
      // A thief may leave a lone thread to a victim that has just moved on.
      if (outer.act == Act::steal && models_[i].local[owner].size() == 1 &&
          outer_results == Results{{kNobody}, 1}) {
        scratch_ = models_[i];
        if (inner_results_ == act_in(scratch_, inner, inner_ids_)) keep(scratch_);
      }
      scratch_ = models_[i];
      if (inner_results_ == act_in(scratch_, inner, inner_ids_) &&
          outer_results == act_in(scratch_, outer, outer_ids_)) {
        keep(scratch_);
      }
    }
    if (!fired) release(inner_ids_);
    if (!check.that("INV-STEAL-1", "an interrupted operation fits neither order", count > 0))
      return;
    for (u32 i = 0; i < count; ++i) models_[i] = possible_[i];
    model_count_ = count;
  }

  // Threads that a side will push are chosen beforehand: the same ones in both orders.
  void reserve(const Side& side, Fifo& ids) {
    ids.clear();
    for (u32 i = 0; side.act == Act::push && i < side.count && any_free(); ++i)
      ids.push_back(take_free());
  }
  void release(Fifo& ids) {
    while (!ids.empty()) QueueModel::move_first(ids, free_);
  }

  void intrude() { inner_results_ = act_really(inner_, inner_ids_); }

  Results act_really(const Side& side, const Fifo& ids) {
    Results results;
    for (u32 i = 0; i < side.count; ++i) {
      switch (side.act) {
        case Act::pop: results.id[results.count++] = real_pop(side.worker); break;
        case Act::steal: results.id[results.count++] = real_steal(side.worker); break;
        case Act::push:
          if (i < ids.size()) queue_->push(side.worker, nodes_[ids[i]]);
          break;
      }
    }
    return results;
  }

  static Results act_in(QueueModel& model, const Side& side, const Fifo& ids) {
    Results results;
    for (u32 i = 0; i < side.count; ++i) {
      switch (side.act) {
        case Act::pop: results.id[results.count++] = model.pop(side.worker); break;
        case Act::steal: results.id[results.count++] = model.steal(side.worker); break;
        case Act::push:
          if (i < ids.size()) model.push(side.worker, ids[i]);
          break;
      }
    }
    return results;
  }

  template <class Queue, u32 kCapacity, bool kRing, bool kFirstIndex = kRing,
            QueueKind kKind = kRing ? QueueKind::lock_free : QueueKind::simple>
  static AnyQueue* make() {
    static QueueUnderTest<Queue, kCapacity, kRing, kFirstIndex, kKind> queue;
    return &queue;
  }
  using Port = IntrudedPort;

  const std::array<AnyQueue*, 6> queues_{
      make<core::LockFreeReadyQueue<Port, Node, 2>, 2, true>(),
      make<core::LockFreeReadyQueue<Port, Node, 4>, 4, true>(),
      make<core::SimpleReadyQueue<Port, Node, 3>, 3, false>(),
      make<core::LockFreeReadyQueue<Port, Node, 256>, 256, true>(),
      make<core::SelectedReadyQueue<Port, Node>, 256, true, false>(),
      make<core::SelectedReadyQueue<Port, Node>, 256, false, false>(),
  };
  AnyQueue* queue_ = nullptr;
  u32 workers_ = 0;
  u32 node_count_ = 0;
  u32 many_ = 1;
  u32 fresh_ = 0;  // nodes below this have been used
  u32 fuel_ = 0;
  static constexpr u32 kModelsMax = 12;
  std::array<QueueModel, kModelsMax> models_;
  u32 model_count_ = 1;
  std::array<QueueModel, kModelsMax> possible_;
  QueueModel scratch_;
  std::array<Node, kQueueThreads> nodes_;
  Fifo free_;
  Side inner_{};
  Results inner_results_;
  Fifo outer_ids_;
  Fifo inner_ids_;
};

GVT_MODEL_END

}  // namespace gvt::model
