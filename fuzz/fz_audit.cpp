// SPDX-License-Identifier: MIT
//
// fz_audit.cpp - audit() on corrupt images. Program and schedule of the input make a runtime; at a
// moment when nothing is half done, the third section flips bits: of a field that has only one
// right value, which audit() must find, or of any byte of the image or of the kernel object, which
// it must survive. Then the bits are put back, audit() must be content, and the program goes on.
#include <cstdio>

#include "model/kernel_rig.hpp"

namespace {

using namespace gvt;
using namespace gvt::sim;
using Rig = KernelRig<SimParts<HighRing<4>, 4>>;

model::Bytes flips;
u32 next_flip = 1;  // the comparison at which the next one is due
u8 scratch[128];

// Flips a field, looks, and puts it back. must: the finding is due.
template <class T>
void flip(Rig& rig, T& field, T bits, bool must, const char* name) {
  const T before = field;
  field = static_cast<T>(field ^ bits);
  const core::Finding finding = rig.auditor().full(scratch);
  field = before;
  if (must && finding.ok()) rig.fail("INV-AUD-1", __LINE__, name);
  if (!finding.ok() && finding.invariant == nullptr)
    rig.fail("INV-AUD-1", __LINE__, "a finding without a name");
}

void flip_thread(Rig& rig, u8 what, u8 bits) {
  const u32 used = rig.memory().admitted();
  if (used == 0) return;
  const u32 id = flips.below(used);
  auto& thread = const_cast<Green&>(rig.auditor().threads()[id]);
  const spec::Thread& state = rig.specification().threads[id];
  const bool lived =
      state.generation != 0;  // audit() can't tell a slot never used from fresh memory
  const u32 bits32 = u32{bits} << (what & 24);
  switch (what % 5) {
    case 0: return flip(rig, thread.id, bits32, lived, "a control block with another's id");
    case 1: {
      thread.queued = !thread.queued;
      const core::Finding finding = rig.auditor().full(scratch);
      thread.queued = !thread.queued;
      if (finding.ok() && lived) rig.fail("INV-AUD-1", __LINE__, "a wrong mark of being queued");
      return;
    }
    case 2:
      return flip(rig, thread.word.plain(), u64{1} << (bits % 2), lived || state.alive(),
                  "a thread in another phase");
    case 3:
      if (state.state == spec::State::running) return;
      return flip(rig, thread.stack, bits32, lived, "another's stack");
    default: return flip(rig, thread.heap_worker, bits, false, "");
  }
}

void at_comparison(Rig& rig, u32 number) {
  if (number != next_flip || flips.empty()) return;
  if (!rig.auditor().full(scratch).ok())
    rig.fail("INV-AUD-1", __LINE__, "a sound runtime is refused");
  for (u32 i = 0; i < 16 && !flips.empty(); ++i) {
    const u8 kind = flips.byte();
    const u8 what = flips.byte();
    const u8 bits = static_cast<u8>(flips.byte() | 1);
    switch (kind % 4) {
      case 0: flip_thread(rig, what, bits); break;
      case 1: {
        const u64 at = flips.number32() % rig.image_bytes();
        flip(rig, rig.image()[at], std::byte{bits}, false, "");
        break;
      }
      case 2: {
        auto* object = reinterpret_cast<std::byte*>(&rig.kernel());
        flip(rig, object[flips.number16() % sizeof(Rig::Kernel)], std::byte{bits}, false, "");
        break;
      }
      default: {
        auto& config = const_cast<Config&>(rig.kernel().config());
        if (what % 2 == 0)
          flip(rig, config.workers, u32{bits}, true, "another configuration");
        else
          flip(rig, config.max_threads, u32{bits}, true, "another configuration");
      }
    }
  }
  if (!rig.auditor().full(scratch).ok())
    rig.fail("INV-AUD-1", __LINE__, "a look has changed the runtime");
  next_flip = number + 1 + flips.below(8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  static Program program;
  decode(data, size, program);
  program.shape.queue = QueueChoice::ring_4;
  if (program.shape.capacity == 7) program.shape.capacity = 6;
  flips = model::Bytes(model::split_sections(data, size).faults);
  program.faults.clear();
  next_flip = 1 + flips.below(16);
  Rig& rig = Rig::instance();
  rig.at_comparison = at_comparison;
  const RunResult result = rig.run(program);
  if (result.ok()) return 0;
  std::fputs(report(program, result).c_str(), stderr);
  __builtin_trap();
}
