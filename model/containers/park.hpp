// SPDX-License-Identifier: MIT
//
// park.hpp - core/park_word.hpp beside a tiny explicit model: one thread's life, its permit and its
// waits in separate fields. Written from the comments at the top of core/park_word.hpp. Steps go
// through core/thread.hpp's take_step(), one of them interrupted by another if the program says so.
// Invariants: INV-PARK-1, INV-WAKE-1, INV-WAIT-1, INV-SLOT-1, INV-TMR-3, INV-CTX-1.
#pragma once

#include <deque>

#include "core/thread.hpp"
#include "model/containers/program.hpp"
#include "model/plain_port.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

// One thread. All from outside may come at any time of its life; what it does itself comes in
// order: spawn, then waits (prepare, then commit or abort), then exit.
struct ParkModel {
  enum class Where : u8 { free, active, parking, parked };
  enum class Why : u8 { permit, wake, timeout, cancel };
  enum class Kind : u8 { park, object, uncancelled };

  Where where = Where::free;
  Why why = Why::permit;  // what ended the last wait
  Kind kind = Kind::park;
  bool permit = false;
  bool woken = false;
  bool cancelled = false;
  bool joined = false;
  bool on_its_way = false;  // between prepare and commit or abort: still on its stack
  u32 generation = 1;

  bool operator==(const ParkModel&) const = default;
  bool waiting() const { return where == Where::parking || where == Where::parked; }
  bool runs() const { return where == Where::active && !on_its_way; }

  void spawn() {
    const u32 mine = generation;
    *this = {};
    generation = mine;
    where = Where::active;
  }
  void exit() {
    const u32 next = generation == ~u32{0} ? 1 : generation + 1;
    *this = {};
    generation = next;
  }

  // True: the wait begins, a commit or an abort must follow.
  bool prepare(Kind new_kind) {
    if (new_kind == Kind::park && permit) {
      permit = false;
      why = Why::permit;
      return false;
    }
    if (new_kind != Kind::uncancelled && cancelled) {
      why = Why::cancel;
      return false;
    }
    if (new_kind == Kind::uncancelled && woken) {
      woken = false;
      why = Why::wake;
      return false;
    }
    kind = new_kind;
    where = Where::parking;
    on_its_way = true;
    return true;
  }

  // These return whether whoever takes the step must enqueue the thread.
  bool commit() {
    on_its_way = false;
    if (where == Where::active) return true;  // ended meanwhile, by somebody who could not enqueue
    where = Where::parked;
    return false;
  }
  void abort(Why reason) {
    on_its_way = false;
    if (where == Where::active) return;  // keeps the reason
    where = Where::active;
    why = reason;
  }
  bool end(Why reason) {
    const bool enqueue = where == Where::parked;
    where = Where::active;
    why = reason;
    return enqueue;
  }
  bool unpark() {
    if (waiting() && kind == Kind::park) return end(Why::permit);
    permit = true;
    return false;
  }
  bool wake() {
    if (waiting()) return end(Why::wake);
    woken = true;
    return false;
  }
  bool timeout() { return waiting() && end(Why::timeout); }
  bool cancel() {
    cancelled = true;
    return waiting() && kind != Kind::uncancelled && end(Why::cancel);
  }
};

class ParkRig {
 public:
  static constexpr const char* kName = "park";
  static constexpr const char* kSetup[] = {"below_wrap", "-", "-", "-"};
  static constexpr const char* kOps[] = {"prepare", "commit", "unpark", "wake",
                                         "timeout", "cancel", "abort",  "exit",
                                         "join",    "stale",  "race"};

  void start(const Program& program, Checker&) {
    intruder = Intruder{};
    model_ = {};
    const u32 below = program.setup(0);
    model_.generation = below == 0 ? 1 : 0u - below;
    const u64 raw = below == 0 ? 0 : u64{model_.generation} << core::ParkWord::kGenerationShift;
    thread_.word.store(raw, std::memory_order_relaxed);
    old_.clear();
  }

  void step(Op op, Checker& check) {
    const u32 code = static_cast<u32>(op.code % std::size(kOps));
    if (model_.where == ParkModel::Where::free && code != 9) {  // a new life first
      model_.spawn();
      apply(check, "spawn enqueues", [](core::ParkWord w) { return core::step_spawn(w); }, false);
    }
    switch (code) {
      case 0: {
        if (!model_.runs()) break;
        const auto kind = static_cast<core::WaitKind>(op.a % 3);
        model_.prepare(static_cast<ParkModel::Kind>(op.a % 3));
        apply(
            check, "prepare enqueues",
            [kind](core::ParkWord w) { return core::step_prepare(w, kind); }, false);
        break;
      }
      case 1: {
        if (!model_.on_its_way) break;
        const bool enqueue = model_.commit();
        apply(check, "commit enqueues", core::step_commit, enqueue);
        break;
      }
      case 2:
      case 3:
      case 4:
      case 5: {
        const Event event = static_cast<Event>(code - 2);
        const bool enqueue = happen(model_, event);
        apply(check, kOps[code], [event](core::ParkWord w) { return step_of(w, event); }, enqueue);
        break;
      }
      case 6: {
        if (!model_.on_its_way) break;
        const auto why = static_cast<core::Ended>(op.a % 4);
        model_.abort(static_cast<ParkModel::Why>(op.a % 4));
        apply(
            check, "abort enqueues", [why](core::ParkWord w) { return core::step_abort(w, why); },
            false);
        break;
      }
      case 7: {
        if (!model_.runs()) break;
        old_.push_back(model_.generation);
        if (old_.size() > 8) old_.pop_front();
        model_.exit();
        apply(check, "exit enqueues", core::step_exit, false);
        break;
      }
      case 8: {
        model_.joined = true;
        apply(
            check, "join enqueues",
            [](core::ParkWord w) { return core::Step{{w.raw | core::ParkWord::kJoined}}; }, false);
        break;
      }
      case 9: stale(op, check); break;
      case 10: race(op, check); break;
    }
    look(check);
  }

  // Whatever happened, the thread can be brought to its end, and is enqueued at most once for it.
  void finish(Checker& check) {
    for (u32 round = 0; round < 4 && model_.where != ParkModel::Where::free; ++round) {
      if (model_.where == ParkModel::Where::parked) step({3, 0, 0}, check);  // wake
      if (model_.on_its_way) step({1, 0, 0}, check);                         // commit
      if (model_.runs()) step({7, 0, 0}, check);                             // exit
    }
    check.that("INV-SLOT-1", "a life has ended", model_.where == ParkModel::Where::free);
    for (u8 i = 0; i < old_.size(); ++i) stale({9, i, 0}, check);
  }

 private:
  enum class Event : u8 { unpark, wake, timeout, cancel };

  static core::Step step_of(core::ParkWord w, Event event) {
    switch (event) {
      case Event::unpark: return core::step_unpark(w);
      case Event::wake: return core::step_wake(w);
      case Event::timeout: return core::step_timeout(w);
      case Event::cancel: break;
    }
    return core::step_cancel(w);
  }
  static bool happen(ParkModel& model, Event event) {
    switch (event) {
      case Event::unpark: return model.unpark();
      case Event::wake: return model.wake();
      case Event::timeout: return model.timeout();
      case Event::cancel: break;
    }
    return model.cancel();
  }

  template <class F>
  void apply(Checker& check, const char* what, F&& f, bool enqueue) {
    check.same("INV-WAKE-1", what, model::really([&] { return core::take_step(thread_, f); }),
               enqueue);
  }

  // A step from outside with the handle of an ended life does nothing; with the right one it does.
  void stale(Op op, Checker& check) {
    const Event event = static_cast<Event>(op.b % 4);
    const auto f = [event](core::ParkWord w) { return step_of(w, event); };
    bool enqueue = false;
    const core::ParkWord before = word();
    const u32 old = old_.empty() ? model_.generation + 1 : old_[op.a % old_.size()];
    const Error error =
        model::really([&] { return core::take_step_if_alive(thread_, old, f, enqueue); });
    check.that("INV-SLOT-1", "an old handle is refused", error == Error::stale);
    check.same("INV-SLOT-1", "a refused step changes the word", word().raw, before.raw);
    const Error now = model::really(
        [&] { return core::take_step_if_alive(thread_, model_.generation, f, enqueue); });
    if (model_.where == ParkModel::Where::free) {
      check.that("INV-SLOT-1", "a handle of no life is refused", now == Error::stale);
      check.same("INV-SLOT-1", "a refused step changes the word", word().raw, before.raw);
      return;
    }
    check.that("INV-SLOT-1", "a live handle is taken", now == Error::ok);
    check.same("INV-WAKE-1", kOps[2 + op.b % 4], enqueue, happen(model_, event));
  }

  // One event comes while another (or the commit) is between its load and its compare-exchange,
  // which must then look again: the outcome is that of the interrupting one first.
  void race(Op op, Checker& check) {
    const Event outer = static_cast<Event>(op.a % 4);
    inner_ = static_cast<Event>(op.a / 4 % 4);
    const bool commits = model_.on_its_way && (op.b & 1) != 0;
    inner_enqueues_ = false;
    intruder.arm(2, [](void* rig) { static_cast<ParkRig*>(rig)->intrude(); }, this);
    intruder.spurious = op.b / 2 % 2;
    const auto f = [outer, commits](core::ParkWord w) {
      return commits ? core::step_commit(w) : step_of(w, outer);
    };
    const bool enqueue = model::really([&] { return core::take_step(thread_, f); });
    check.that("INV-WAKE-1", "the race took place", intruder.fired);
    intruder.disarm();
    const bool inner_expected = happen(model_, inner_);
    check.same("INV-WAKE-1", "the interrupting step enqueues", inner_enqueues_, inner_expected);
    const bool outer_expected = commits ? model_.commit() : happen(model_, outer);
    check.same("INV-WAKE-1", "the interrupted step enqueues", enqueue, outer_expected);
    check.that("INV-WAKE-1", "one wait enqueues at most once", !(enqueue && inner_enqueues_));
  }
  void intrude() {
    const Event event = inner_;
    inner_enqueues_ =
        core::take_step(thread_, [event](core::ParkWord w) { return step_of(w, event); });
  }

  core::ParkWord word() const { return {thread_.word.load(std::memory_order_relaxed)}; }

  void look(Checker& check) {
    using core::ParkWord;
    const ParkWord w = word();
    check.same("INV-CTX-1", "phase", static_cast<u64>(w.phase()), static_cast<u64>(model_.where));
    check.same("INV-PARK-1", "permit", w.has(ParkWord::kPermit), model_.permit);
    check.same("INV-WAIT-1", "woken", w.has(ParkWord::kWoken), model_.woken);
    check.same("INV-WAIT-1", "cancelled", w.has(ParkWord::kCancelled), model_.cancelled);
    check.same("INV-WAIT-1", "joined", w.has(ParkWord::kJoined), model_.joined);
    check.same("INV-SLOT-1", "generation", w.generation() == 0 ? 1 : w.generation(),
               model_.generation);
    check.same("INV-SLOT-1", "alive", w.alive(model_.generation),
               model_.where != ParkModel::Where::free);
    check.same("INV-CTX-1", "waiting", w.waiting(), model_.waiting());
    if (!model_.waiting()) {
      check.same("INV-WAIT-1", "ended", static_cast<u64>(w.ended()), static_cast<u64>(model_.why));
    }
  }

  core::Thread<IntrudedPort> thread_;
  ParkModel model_;
  std::deque<u32> old_;  // generations of ended lives
  Event inner_ = Event::unpark;
  bool inner_enqueues_ = false;
};

GVT_MODEL_END

}  // namespace gvt::model
