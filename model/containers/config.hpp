// SPDX-License-Identifier: MIT
//
// config.hpp - core/config.hpp beside a table of the documented ranges, written out in numbers.
// Invariant: INV-CFG-1 (a configuration is refused with its first bad field, and only then).
#pragma once

#include <cstring>

#include "core/config.hpp"
#include "model/containers/program.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

class ConfigRig {
 public:
  static constexpr const char* kName = "config";
  static constexpr const char* kSetup[] = {"-", "-", "-", "-"};
  static constexpr const char* kOps[] = {"workers", "max_threads", "slot_bytes", "queue",
                                         "guards",  "warm_stacks", "caller",     "most_threads"};

  void start(const Program&, Checker& check) {
    config_ = Config{};
    check.that("INV-CFG-1", "the defaults are good", check_config(config_).ok());
  }

  void step(Op op, Checker& check) {
    const u64 wide = number(op);
    const u32 narrow = static_cast<u32>(wide);
    switch (op.code % std::size(kOps)) {
      case 0: config_.workers = narrow; break;
      case 1: config_.max_threads = narrow; break;
      case 2: config_.slot_bytes = wide; break;
      case 3: config_.queue = static_cast<QueueKind>(op.b); break;
      case 4: config_.guards = static_cast<GuardMode>(op.b); break;
      case 5: config_.warm_stacks = narrow; break;
      case 6: config_.caller_is_worker = (op.b & 1) != 0; break;
      case 7: {  // about as many as fit into the address space
        const u64 slot_bytes = config_.slot_bytes == 0 ? 1 : config_.slot_bytes;
        config_.max_threads = static_cast<u32>((u64{1} << 46) / slot_bytes + zigzag(op.b));
        break;
      }
    }
    look(check);
  }

  void finish(Checker& check) { look(check); }

 private:
  // Around a power of two, or a small number.
  static u64 number(Op op) noexcept {
    if (op.a >= 128) return op.b;
    return (u64{1} << (op.a % 64)) + zigzag(op.b);
  }
  // 0, 1, -1, 2, -2 ...
  static u64 zigzag(u8 raw) noexcept { return (raw & 1) != 0 ? raw / 2u + 1 : u64{0} - raw / 2u; }

  struct Bad {
    const char* field = nullptr;
    u64 value = 0;
    u64 min = 0;
    u64 max = 0;
  };

  static Bad expected(const Config& c) {
    const struct {
      const char* field;
      u64 value;
      u64 min;
      u64 max;
      bool power_of_two;
    } table[] = {
        {"workers", c.workers, 1, 56, false},
        {"max_threads", c.max_threads, 1, 16'777'216, false},
        {"slot_bytes", c.slot_bytes, 16'384, 1'073'741'824, true},
        // All stacks together: 64 TiB. Only asked when slot_bytes is good.
        {"max_threads", c.max_threads, 1,
         c.slot_bytes == 0 ? ~u64{0} : 70'368'744'177'664 / c.slot_bytes, false},
        {"queue", static_cast<u8>(c.queue), 0, 1, false},
        {"guards", static_cast<u8>(c.guards), 0, 3, false},
    };
    for (const auto& row : table) {
      u32 bits = 0;
      for (u64 v = row.value; v != 0; v >>= 1) bits += v & 1;
      if (row.value < row.min || row.value > row.max || (row.power_of_two && bits != 1)) {
        return {row.field, row.value, row.min, row.max};
      }
    }
    return {};
  }

  void look(Checker& check) const {
    const ConfigError error = really([&] { return check_config(config_); });
    const Bad bad = expected(config_);
    check.same("INV-CFG-1", "accepted", error.ok(), bad.field == nullptr);
    if (error.ok() || bad.field == nullptr) return;
    check.that("INV-CFG-1", "which field", std::strcmp(error.field, bad.field) == 0);
    check.same("INV-CFG-1", "its value", error.value, bad.value);
    check.same("INV-CFG-1", "its least value", error.min, bad.min);
    check.same("INV-CFG-1", "its greatest value", error.max, bad.max);
    check.that("INV-CFG-1", "a value within the range needs another rule",
               error.value < error.min || error.value > error.max || error.rule != nullptr);
  }

  Config config_;
};

GVT_MODEL_END

}  // namespace gvt::model
