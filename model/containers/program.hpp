// SPDX-License-Identifier: MIT
//
// program.hpp - what a container's properties and its fuzzer share: a program decoded from bytes,
// and the verdict of running it beside the reference. Four bytes of set-up (which variant, how
// many workers ...), then three bytes per operation. Every byte string is a legal program: an
// operation that the state does not allow is skipped by the rig.
#pragma once

#include <ostream>

#include "model/bytes.hpp"
#include "model/coverage.hpp"

namespace gvt::model {

GVT_MODEL_BEGIN

struct Op {
  u8 code = 0;
  u8 a = 0;
  u8 b = 0;
};

class Program {
 public:
  static constexpr u32 kSetupBytes = 4;
  static constexpr u32 kOpBytes = 3;
  static constexpr u32 kMaxOps = 1 << 16;  // later bytes are ignored: bounds the time of one run

  explicit Program(ByteSpan bytes) noexcept : bytes_(bytes) {}

  u8 setup(u32 index) const noexcept { return index < bytes_.size() ? bytes_[index] : u8{0}; }
  u32 count() const noexcept {
    if (bytes_.size() < kSetupBytes) return 0;
    return static_cast<u32>(std::min<usize>((bytes_.size() - kSetupBytes) / kOpBytes, kMaxOps));
  }
  Op op(u32 index) const noexcept {
    const u8* at = &bytes_[kSetupBytes + usize{index} * kOpBytes];
    return {at[0], at[1], at[2]};
  }
  ByteSpan bytes() const noexcept { return bytes_; }

 private:
  ByteSpan bytes_;
};

// With the canary set the third comparison of each run lies: a harness that can't fail proves
// nothing.
inline bool canary = false;

// The first broken rule, or none.
struct Verdict {
  const char* invariant = nullptr;
  const char* what = nullptr;
  u32 op = 0;  // which operation showed it; the number of operations: the final look
  u64 real = 0;
  u64 expected = 0;

  bool ok() const noexcept { return invariant == nullptr; }
};

// Compares the real answer with the reference's, and keeps the first difference.
class Checker {
 public:
  bool same(const char* invariant, const char* what, u64 real, u64 expected) noexcept {
    ++comparisons_;
    const bool lie = canary && comparisons_ == 3;
    if (real == expected && !lie) [[likely]]
      return true;
    if (verdict_.ok()) verdict_ = {lie ? "canary" : invariant, what, op_, real, expected};
    return false;
  }
  bool that(const char* invariant, const char* what, bool holds) noexcept {
    return same(invariant, what, holds ? 1 : 0, 1);
  }

  void at(u32 op) noexcept { op_ = op; }
  bool ok() const noexcept { return verdict_.ok(); }
  const Verdict& verdict() const noexcept { return verdict_; }

 private:
  Verdict verdict_;
  u32 op_ = 0;
  u32 comparisons_ = 0;
};

// Runs every operation on a fresh rig, then its final look. Rig: `kName`, `kSetup`, `kOps` for
// people; start(program, checker), step(op, checker), finish(checker).
template <class Rig>
Verdict run_program(Rig& rig, const Program& program) {
  Checker check;
  rig.start(program, check);
  const u32 count = program.count();
  for (u32 i = 0; i < count && check.ok(); ++i) {
    check.at(i);
    rig.step(program.op(i), check);
  }
  check.at(count);
  if (check.ok()) rig.finish(check);
  return check.verdict();
}

template <class Rig>
void print_program(std::ostream& out, const Program& program) {
  out << Rig::kName;
  for (u32 i = 0; i < Program::kSetupBytes; ++i) {
    out << ' ' << Rig::kSetup[i] << '=' << u32{program.setup(i)};
  }
  for (u32 i = 0; i < program.count(); ++i) {
    const Op op = program.op(i);
    out << "\n  " << i << ": " << Rig::kOps[op.code % std::size(Rig::kOps)] << '(' << u32{op.a}
        << ", " << u32{op.b} << ')';
  }
  out << "\n  token: " << encode_token(program.bytes()) << '\n';
}

inline std::string number_or_none(u64 value) {
  return value == ~u64{0} ? "none" : std::to_string(value);
}

inline void print_verdict(std::ostream& out, const char* name, const Verdict& verdict) {
  out << name << ": " << verdict.invariant << " broken, seen by operation " << verdict.op << ": "
      << verdict.what << ": got " << number_or_none(verdict.real) << ", the reference says "
      << number_or_none(verdict.expected) << '\n';
}

GVT_MODEL_END

}  // namespace gvt::model
