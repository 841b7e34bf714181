// SPDX-License-Identifier: MIT
//
// wait_explorer.hpp - every interleaving of one thread's waits with those that end them: unparkers,
// an object per wait, a timer, a canceller. The steps are core/park_word.hpp's, or mutants of them;
// what happens around them (who arms a timer when, who enqueues) is written down here once more, as
// the scheduler does it. Explicit states, depth first, each visited once. Checked: a thread is
// never enqueued while its stack runs, nor twice [INV-CTX-1, INV-WAKE-1]; no permit, wake, time-out
// or cancel is lost [INV-PARK-1]; no late wake or timer meets a later wait [INV-WAIT-1, INV-TMR-3].
#pragma once

#include <array>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/park_word.hpp"

namespace gvt::test {

using core::Ended;
using core::ParkWord;
using core::Phase;
using core::Step;
using core::WaitKind;

// The steps under test, and ways to do the rest wrong.
struct Protocol {
  Step (*prepare)(ParkWord, WaitKind) = [](ParkWord w, WaitKind k) {
    return core::step_prepare(w, k);
  };
  Step (*commit)(ParkWord) = [](ParkWord w) { return core::step_commit(w); };
  Step (*unpark)(ParkWord) = [](ParkWord w) { return core::step_unpark(w); };
  Step (*wake)(ParkWord) = [](ParkWord w) { return core::step_wake(w); };
  Step (*timeout)(ParkWord) = [](ParkWord w) { return core::step_timeout(w); };
  Step (*cancel)(ParkWord) = [](ParkWord w) { return core::step_cancel(w); };
  bool unpark_in_two_steps = false;      // reads the word, and writes what it made of it later
  bool arm_before_prepare = false;       // the sleeper is in the heap before it is parking
  bool enqueue_again_after_run = false;  // the state is read again after the switch
  bool forget_owed_wake = false;         // a wake that lost against a time-out is not waited for
  bool forget_disarm = false;            // the timer of a wait that ended otherwise stays armed
};

struct Wait {
  WaitKind kind;
  bool timed;
};

struct Scenario {
  std::vector<Wait> waits;
  u8 unparkers = 0;  // each unparks `unparks` times
  u8 unparks = 1;
  u8 cancels = 0;
};

class WaitExplorer {
 public:
  WaitExplorer(const Protocol& protocol, const Scenario& scenario)
      : protocol_(protocol), scenario_(scenario) {}

  // The first broken rule, or "".
  std::string run() {
    State start;
    start.word = core::step_spawn({}).next.raw;
    for (u8 i = 0; i < scenario_.unparkers; ++i) start.unparks_left[i] = scenario_.unparks;
    start.cancels_left = scenario_.cancels;
    start.pc = scenario_.waits.empty() ? Pc::finished : Pc::prepare;
    visit(start);
    while (!todo_.empty() && broken_.empty()) {
      const State s = todo_.back();
      todo_.pop_back();
      const usize before = offered_;
      offer_all(s);
      if (offered_ == before && broken_.empty()) check_end(s);
    }
    return broken_;
  }

  usize states() const { return seen_.size(); }
  usize ends() const { return ends_; }

 private:
  static constexpr usize kMaxUnparkers = 2;
  static constexpr usize kMaxWaits = 4;

  enum class Pc : u8 { prepare, begin, arm, leave, commit, off, over, finished };
  enum class Object : u8 { idle, registered, taken, gone };

  struct State {
    u64 word = 0;
    Pc pc = Pc::prepare;
    u8 wait = 0;
    bool queued = false;
    bool in_heap = false;
    bool owed = false;           // in the uncancellable wait for a wake on its way
    u8 enqueues = 0;             // since the wait was prepared
    bool unpark_unseen = false;  // an unpark since the thread last met a permit
    bool timer_spent = false;    // this wait's deadline has passed
    bool aborted = false;        // the wait ended before it was left
    std::array<Object, kMaxWaits> objects{};
    std::array<u8, kMaxUnparkers> unparks_left{};
    std::array<bool, kMaxUnparkers> loaded{};
    std::array<u64, kMaxUnparkers> loaded_word{};
    u8 cancels_left = 0;

    auto key() const {
      return std::tie(word, pc, wait, queued, in_heap, owed, enqueues, unpark_unseen, timer_spent,
                      aborted, objects, unparks_left, loaded, loaded_word, cancels_left);
    }
    friend bool operator<(const State& a, const State& b) { return a.key() < b.key(); }
  };

  void fail(const char* what) {
    if (broken_.empty()) broken_ = what;
  }
  void visit(const State& s) {
    ++offered_;
    if (seen_.insert(s).second) todo_.push_back(s);
  }
  const Wait& wait(const State& s) const { return scenario_.waits[s.wait]; }

  void enqueue(State& s, bool from_commit) {
    if (!from_commit && s.pc != Pc::off) fail("enqueued while its stack runs");
    if (s.queued) fail("enqueued twice");
    s.queued = true;
    if (++s.enqueues > 1) fail("enqueued twice for one wait");
  }
  void apply(State& s, const Step& step, bool from_commit = false) {
    s.word = step.next.raw;
    if (step.enqueue) enqueue(s, from_commit);
  }

  // Every next state.
  void offer_all(const State& s) {
    offer_thread(s);
    for (usize i = 0; i < scenario_.unparkers; ++i) offer_unparker(s, i);
    for (usize i = 0; i < scenario_.waits.size(); ++i) offer_object(s, i);
    if (s.in_heap) {
      State n = s;
      n.in_heap = false;
      n.timer_spent = true;
      apply(n, protocol_.timeout({n.word}));
      visit(n);
    }
    if (s.cancels_left > 0) {
      State n = s;
      --n.cancels_left;
      apply(n, protocol_.cancel({n.word}));
      visit(n);
    }
  }

  void offer_unparker(const State& s, usize i) {
    if (s.unparks_left[i] == 0) return;
    State n = s;
    if (protocol_.unpark_in_two_steps && !s.loaded[i]) {
      n.loaded[i] = true;
      n.loaded_word[i] = s.word;
      return visit(n);
    }
    const ParkWord before{protocol_.unpark_in_two_steps ? s.loaded_word[i] : s.word};
    n.loaded[i] = false;
    n.loaded_word[i] = 0;
    --n.unparks_left[i];
    n.unpark_unseen = true;
    apply(n, protocol_.unpark(before));
    visit(n);
  }

  // What a wait is for: lets its waiter go once, at any time; takes it off its list first.
  void offer_object(const State& s, usize i) {
    if (scenario_.waits[i].kind != WaitKind::object) return;
    State n = s;
    switch (s.objects[i]) {
      case Object::idle: n.objects[i] = Object::gone; break;
      case Object::registered: n.objects[i] = Object::taken; break;
      case Object::taken:
        n.objects[i] = Object::gone;
        apply(n, protocol_.wake({n.word}));
        break;
      case Object::gone: return;
    }
    visit(n);
  }

  void offer_thread(const State& s) {
    State n = s;
    ParkWord word{s.word};
    switch (s.pc) {
      case Pc::prepare: {
        if (protocol_.arm_before_prepare && wait(s).timed && !s.owed && !s.in_heap &&
            !s.timer_spent) {
          n.in_heap = true;
          break;
        }
        n.enqueues = 0;
        apply(n, protocol_.prepare(word, s.owed ? WaitKind::uncancelled : wait(s).kind));
        n.aborted = !ParkWord{n.word}.waiting();
        n.pc = n.aborted ? Pc::over : Pc::begin;
        break;
      }
      case Pc::begin:
        n.pc = Pc::arm;
        if (wait(s).kind != WaitKind::object || s.owed) break;
        if (s.objects[s.wait] == Object::idle) {
          n.objects[s.wait] = Object::registered;
        } else {  // it is over already
          apply(n, core::step_abort(word, Ended::cancel));
          n.aborted = true;
          n.pc = Pc::over;
        }
        break;
      case Pc::arm:
        if (wait(s).timed && !s.owed && !protocol_.arm_before_prepare) n.in_heap = true;
        n.pc = Pc::leave;
        break;
      case Pc::leave: n.pc = Pc::commit; break;  // the successor's context runs, ours is saved
      case Pc::commit:
        apply(n, protocol_.commit(word), true);
        n.pc = Pc::off;
        break;
      case Pc::off:
        if (!s.queued) return;
        n.queued = false;
        n.pc = Pc::over;
        if (s.enqueues != 1) fail("resumed without exactly one enqueue");
        if (protocol_.enqueue_again_after_run && word.phase() == Phase::active)
          enqueue(n, true);  // "it is ready, so it belongs into the queue"
        break;
      case Pc::over: finish_wait(n); break;
      case Pc::finished: return;
    }
    visit(n);
  }

  void finish_wait(State& s) {
    const ParkWord word{s.word};
    const Ended ended = word.ended();
    const Wait& w = wait(s);
    if (word.phase() != Phase::active) fail("runs in a phase that is not active");
    if (s.queued) fail("queued while it runs");
    if (ended == Ended::permit && !s.aborted && (w.kind != WaitKind::park || s.owed))
      fail("a permit ended a wait that is not park");
    if (ended == Ended::timeout && (!w.timed || s.owed))
      fail("a time-out ended a wait without deadline");
    if (ended == Ended::timeout && !s.timer_spent) fail("timed out before its deadline");
    if (ended == Ended::wake && !s.aborted && !s.owed &&
        (w.kind != WaitKind::object || s.objects[s.wait] != Object::gone)) {
      fail("a wake ended a wait that it was not for");
    }
    if (ended == Ended::cancel && s.owed) fail("a cancel ended the wait for an owed wake");
    if (ended == Ended::permit && w.kind == WaitKind::park) s.unpark_unseen = false;
    if (!protocol_.forget_disarm) s.in_heap = false;
    const bool owed = s.owed;
    s.owed = false;
    if (w.kind == WaitKind::object && !owed && ended != Ended::wake) {
      if (s.objects[s.wait] == Object::registered) {
        s.objects[s.wait] = Object::gone;  // deregistered
      } else if (!s.aborted && !protocol_.forget_owed_wake) {
        // taken, or woken already: meet the wake here
        s.owed = true;
        s.pc = Pc::prepare;
        return;
      }
    }
    if (w.kind == WaitKind::object && !protocol_.forget_owed_wake &&
        ParkWord{s.word}.has(ParkWord::kWoken)) {
      fail("a wake is left for a later wait");
    }
    s.timer_spent = false;
    s.aborted = false;
    ++s.wait;
    s.pc = s.wait == scenario_.waits.size() ? Pc::finished : Pc::prepare;
    if (s.wait == scenario_.waits.size()) s.wait = 0;
  }

  // Nobody can take a step any more.
  void check_end(const State& s) {
    ++ends_;
    if (s.pc == Pc::finished) return;
    const ParkWord word{s.word};
    if (s.pc != Pc::off || word.phase() != Phase::parked) return fail("stuck outside of a wait");
    if (s.owed) return fail("waits for ever for an owed wake");
    if (wait(s).timed) return fail("a time-out was lost");
    if (wait(s).kind == WaitKind::object) return fail("a wake was lost");
    if (s.unpark_unseen) return fail("a permit was lost");
    if (scenario_.cancels > 0) return fail("a cancel was lost");
  }

  const Protocol protocol_;
  const Scenario scenario_;
  std::set<State> seen_;
  std::vector<State> todo_;
  std::string broken_;
  usize offered_ = 0;
  usize ends_ = 0;
};

}  // namespace gvt::test
