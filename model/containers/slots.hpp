// SPDX-License-Identifier: MIT
//
// slots.hpp - core/slot_pool.hpp beside a set of the slots in use, and the generation of each slot
// (core/park_word.hpp, spawn and exit) beside a counter. Invariants: INV-SLOT-1, INV-SLOT-2,
// INV-SLOT-3.
#pragma once

#include <array>
#include <deque>
#include <vector>

#include "core/park_word.hpp"
#include "core/slot_pool.hpp"
#include "model/containers/program.hpp"
#include "model/plain_port.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

class SlotsRig {
 public:
  static constexpr const char* kName = "slots";
  static constexpr const char* kSetup[] = {"capacity", "shards", "warm_max", "admitted"};
  static constexpr const char* kOps[] = {"spawn",      "exit",      "check_handle",
                                         "spawn_many", "exit_many", "exit_and_spawn"};

  void start(const Program& program, Checker&) {
    static constexpr u32 kCapacities[] = {1, 2, 3, 4, 33, 70, 100, kSlots};
    static constexpr u32 kWarm[] = {0, 1, 32, kSlots};
    capacity_ = kCapacities[program.setup(0) % std::size(kCapacities)];
    shard_count_ = 1 + program.setup(1) % kShards;
    // More than this many slots the system refuses to make fresh; 0 refuses none.
    admitted_ = program.setup(3) == 0 ? capacity_ : std::min<u32>(program.setup(3), capacity_);
    pool_.init(memory_, shard_count_, capacity_, kWarm[program.setup(2) % std::size(kWarm)]);
    const u64 first_generation = (program.setup(2) & 0x80) == 0 ? 0 : 0xfffffffe;
    for (u32 i = 0; i < capacity_; ++i) {
      word_[i] = {first_generation << core::ParkWord::kGenerationShift};
      generation_[i] = first_generation == 0 ? 1 : static_cast<u32>(first_generation);
      live_[i] = false;
    }
    owned_.clear();
    steps_ = 0;
    fuel_ = kFuel;
    old_.clear();
    batch_count_ = 0;
    hot_ = Pool::kNone;
  }

  void step(Op op, Checker& check) {
    const u32 shard = op.a % (shard_count_ + 1);
    const u32 from = shard == shard_count_ ? Pool::kNone : shard;  // a foreign OS thread
    switch (op.code % std::size(kOps)) {
      case 0: spawn(from, check); break;
      case 1: exit(from, op.b, check, false); break;
      case 2: check_handle(op.b, check); break;
      case 3: {
        for (u32 i = 0; i < op.b && check.ok() && spawn(from, check); ++i) {
        }
        break;
      }
      case 4: {
        for (u32 i = 0; i < op.b && check.ok() && !owned_.empty(); ++i) exit(from, i, check, false);
        break;
      }
      case 5: exit(from, op.b, check, true); break;
    }
    if (capacity_ <= 4 || ++steps_ % 8 == 0) look(check);
  }

  void finish(Checker& check) {
    look(check);
    for (u32 shard = 0; check.ok() && !owned_.empty(); shard = (shard + 1) % shard_count_) {
      exit(shard, 0, check, false);
    }
    look(check);
    // Every slot that the system admits comes out once more, wherever it has got to.
    for (u32 i = 0; i < admitted_ && check.ok(); ++i) {
      const u32 slot = acquire(shard_count_ - 1);
      if (check.that("INV-SLOT-3", "none was free", slot != Pool::kNone)) taken(slot, check);
    }
    if (check.ok()) check.same("INV-SLOT-3", "one too many", acquire(0), Pool::kNone);
    look(check);
  }

 private:
  using Pool = core::SlotPool<PlainPort>;
  static constexpr u32 kSlots = 140;
  static constexpr u32 kShards = 3;
  static constexpr u32 kFuel = 300;  // spawns in one program

  u32 acquire(u32 shard) {
    return really([&] {
      return pool_.acquire(shard, [this](u32 first, u32 count) noexcept {
        return first >= admitted_ ? 0 : std::min(count, admitted_ - first);
      });
    });
  }

  bool spawn(u32 shard, Checker& check) {
    if (fuel_ == 0) return false;
    --fuel_;
    const u32 slot = acquire(shard);
    // Slots whose pages are on their way back to the system are nobody's for that time.
    const bool full = owned_.size() + batch_count_ == admitted_;
    check.same("INV-SLOT-3", "none free", slot == Pool::kNone, full);
    if (slot == Pool::kNone) return false;
    if (hot_ != Pool::kNone && hot_shard_ == shard) {
      check.same("INV-SLOT-2", "the last released comes first", slot, hot_);
    }
    hot_ = Pool::kNone;
    taken(slot, check);
    return true;
  }

  void taken(u32 slot, Checker& check) {
    if (!check.that("INV-SLOT-2", "a slot out of range", slot < capacity_)) return;
    if (!check.that("INV-SLOT-2", "a slot given out twice", !live_[slot])) return;
    for (u32 i = 0; i < batch_count_; ++i) {
      check.that("INV-SLOT-2", "a slot given out while its pages go", batch_[i] != slot);
    }
    live_[slot] = true;
    word_[slot] = core::step_spawn(word_[slot]).next;
    check.same("INV-SLOT-1", "the generation of a new life", word_[slot].generation(),
               generation_[slot]);
    check.that("INV-SLOT-1", "a new life's handle", word_[slot].alive(generation_[slot]));
    owned_.push_back({slot, generation_[slot]});
  }

  void exit(u32 shard, u32 which, Checker& check, bool spawn_meanwhile) {
    if (owned_.empty()) return;
    const Handle handle = owned_[which % owned_.size()];
    owned_[which % owned_.size()] = owned_.back();
    owned_.pop_back();
    live_[handle.id] = false;
    word_[handle.id] = core::step_exit(word_[handle.id]).next;
    generation_[handle.id] = handle.generation == ~u32{0} ? 1 : handle.generation + 1;  // never 0
    old_.push_back(handle);
    if (old_.size() > 64) old_.pop_front();
    hot_ = Pool::kNone;
    really([&] {
      pool_.release(shard, handle.id, [&](const u32* slots, u32 count) noexcept {
        discard(slots, count, check, spawn_meanwhile, shard);
      });
    });
    batch_count_ = 0;
    hot_ = spawn_meanwhile ? Pool::kNone : handle.id;
    hot_shard_ = shard;
  }

  void discard(const u32* slots, u32 count, Checker& check, bool spawn_meanwhile, u32 shard) {
    if (!check.that("INV-SLOT-2", "the size of a batch", count > 0 && count <= Pool::kBatch))
      return;
    for (u32 i = 0; i < count; ++i) {
      check.that("INV-SLOT-2", "pages of a slot in use given back",
                 slots[i] < capacity_ && !live_[slots[i]]);
      batch_[i] = slots[i];
    }
    batch_count_ = count;
    // The pool calls this without a lock: other workers go on.
    for (u32 i = 0; spawn_meanwhile && i < Pool::kBatch; ++i) {
      spawn((shard + 1) % shard_count_, check);
    }
  }

  void check_handle(u32 which, Checker& check) {
    if (!old_.empty()) {
      const Handle old = old_[which % old_.size()];
      check.that("INV-SLOT-1", "an old handle is alive", !word_[old.id].alive(old.generation));
    }
    if (!owned_.empty()) {
      const Handle handle = owned_[which % owned_.size()];
      check.that("INV-SLOT-1", "a live handle is stale", word_[handle.id].alive(handle.generation));
    }
  }

  // Free slots in the pool's chains and slots in use are all that were ever used, each once.
  void look(Checker& check) {
    const u32 used = pool_.used();
    check.that("INV-SLOT-3", "used", used <= admitted_);
    seen_ = {};
    u32 free_count = 0;
    u32 wrong = 0;
    const bool whole = pool_.for_each_free([&](u32 slot) {
      wrong += slot >= used || live_[slot] || seen_[slot] ? 1 : 0;
      seen_[slot] = true;
      ++free_count;
    });
    check.that("INV-SLOT-2", "the free slots are countable", whole);
    check.same("INV-SLOT-2", "free slots that are in use, unused or doubled", wrong, 0);
    check.same("INV-SLOT-2", "free and owned", free_count + owned_.size(), used);
    for (const Handle& old : old_) {
      check.that("INV-SLOT-1", "an old handle is alive", !word_[old.id].alive(old.generation));
    }
  }

  Pool pool_;
  alignas(64) std::byte memory_[Pool::required_bytes(kShards, kSlots)];
  u32 capacity_ = 0;
  u32 shard_count_ = 0;
  u32 admitted_ = 0;
  std::array<core::ParkWord, kSlots> word_;
  std::array<u32, kSlots> generation_;  // of the life that is, or comes next
  std::array<bool, kSlots> live_;
  std::array<bool, kSlots> seen_;
  std::vector<Handle> owned_;
  std::deque<Handle> old_;
  std::array<u32, Pool::kBatch> batch_;
  u32 batch_count_ = 0;
  u32 steps_ = 0;
  u32 fuel_ = 0;
  u32 hot_ = Pool::kNone;
  u32 hot_shard_ = 0;
};

GVT_MODEL_END

}  // namespace gvt::model
