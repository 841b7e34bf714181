// SPDX-License-Identifier: MIT
//
// idle.hpp - core/idle_set.hpp beside a set of idle workers and a number of searchers.
// Invariants: INV-IDLE-1, INV-IDLE-2.
#pragma once

#include <array>
#include <set>

#include "core/idle_set.hpp"
#include "model/containers/program.hpp"
#include "model/plain_port.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

class IdleRig {
 public:
  static constexpr const char* kName = "idle";
  static constexpr const char* kSetup[] = {"workers", "-", "-", "-"};
  static constexpr const char* kOps[] = {"begin_search", "end_search", "announce",
                                         "retract",      "claim_any",  "claim"};

  void start(const Program& program, Checker&) {
    static constexpr u32 kWorkers[] = {2, 1, 3, 4, kMaxWorkers};
    intruder = Intruder{};
    workers_ = kWorkers[program.setup(0) % std::size(kWorkers)];
    set_.~IdleSet();
    new (&set_) core::IdleSet<IntrudedPort>{};
    state_.fill(State::busy);
    idle_.clear();
    searching_ = 0;
  }

  void step(Op op, Checker& check) {
    const u32 worker = op.a % workers_;
    State& state = state_[worker];
    intruder.spurious = op.b & 1;
    switch (op.code % std::size(kOps)) {
      case 0: {
        if (state != State::busy) break;
        const bool may = 2 * searching_ < workers_;
        check.same("INV-IDLE-2", "begin_search",
                   really([&] { return set_.begin_search(workers_); }), may);
        if (may) search(worker);
        break;
      }
      case 1: {
        if (state != State::searching) break;
        check.same("INV-IDLE-1", "the last searcher", really([&] { return set_.end_search(); }),
                   searching_ == 1);
        --searching_;
        state = State::busy;
        break;
      }
      case 2: {
        if (state == State::idle) break;
        const bool searched = state == State::searching;
        check.same("INV-IDLE-1", "the last searcher sleeps",
                   really([&] { return set_.announce(worker, searched); }),
                   searched && searching_ == 1);
        searching_ -= searched ? 1 : 0;
        state = State::idle;
        idle_.insert(worker);
        break;
      }
      case 3: {  // by the worker itself, which a waker may have claimed before
        if (state == State::busy) break;
        const bool mine = state == State::idle;
        check.same("INV-IDLE-2", "retract", really([&] { return set_.retract(worker); }), mine);
        if (mine) search(worker);
        break;
      }
      case 4: {
        const bool wake = !idle_.empty() && searching_ == 0;
        const u32 claimed = really([&] { return set_.claim_any(); });
        check.same("INV-IDLE-1", "somebody is claimed", claimed != set_.kNobody, wake);
        if (claimed == set_.kNobody) break;
        if (check.that("INV-IDLE-2", "the claimed is idle", idle_.count(claimed) == 1)) {
          search(claimed);
        }
        break;
      }
      case 5: {
        const bool mine = state == State::idle;
        check.same("INV-IDLE-2", "claim", really([&] { return set_.claim(worker); }), mine);
        if (mine) search(worker);
        break;
      }
    }
    intruder.disarm();
    set_.synchronise();
    look(check);
  }

  void finish(Checker& check) { look(check); }

 private:
  enum class State : u8 { busy, searching, idle };

  void search(u32 worker) {
    idle_.erase(worker);
    state_[worker] = State::searching;
    ++searching_;
  }

  void look(Checker& check) const {
    check.same("INV-IDLE-1", "any_idle", set_.any_idle(), !idle_.empty());
    check.same("INV-IDLE-2", "searching", set_.searching(), searching_);
    for (u32 w = 0; w < workers_ && check.ok(); ++w) {
      check.same("INV-IDLE-2", "is_idle", set_.is_idle(w), state_[w] == State::idle);
    }
  }

  core::IdleSet<IntrudedPort> set_;
  u32 workers_ = 0;
  std::array<State, kMaxWorkers> state_{};
  std::set<u32> idle_;
  u32 searching_ = 0;
};

GVT_MODEL_END

}  // namespace gvt::model
