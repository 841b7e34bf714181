// SPDX-License-Identifier: MIT
//
// rig.cpp - see rig.hpp; the kernels that the programs run on, one per ready queue.
#include "model/rig.hpp"

#include <cstdio>
#include <cstdlib>

#include "model/kernel_rig.hpp"

GVT_MODEL_BEGIN

namespace gvt::sim {

bool canary = false;
bool work_conserving = false;
std::FILE* narration = nullptr;

RunResult run(const Program& program) {
  switch (program.shape.queue) {
    case QueueChoice::simple_2:
      return KernelRig<SimParts<core::SimpleReadyQueue<Port, Green, 2>, 2>>::instance().run(
          program);
    case QueueChoice::simple_4:
      return KernelRig<SimParts<core::SimpleReadyQueue<Port, Green, 4>, 4>>::instance().run(
          program);
    case QueueChoice::ring_2: return KernelRig<SimParts<HighRing<2>, 2>>::instance().run(program);
    case QueueChoice::ring_4: return KernelRig<SimParts<HighRing<4>, 4>>::instance().run(program);
    case QueueChoice::shipped: break;
  }
  return KernelRig<SimParts<core::SelectedReadyQueue<Port, Green>, 256>>::instance().run(program);
}

void run_or_trap(const u8* data, usize size, bool faults) {
  static Program program;  // keeps its memory
  decode(data, size, program);
  if (!faults) program.faults.clear();
  const RunResult result = run(program);
  if (result.ok()) return;
  std::fputs(report(program, result).c_str(), stderr);
  std::fflush(stderr);
  __builtin_trap();
}

std::string describe(const Program& p) {
  const Shape& s = p.shape;
  char line[256];
  std::snprintf(line, sizeof line,
                "%u worker%s%s, %s%s, %u threads at once, %u foreign OS threads, %u warm "
                "stacks%s%s\n",
                s.workers, s.workers == 1 ? "" : "s",
                s.until_drained ? " (the first until drained)" : "",
                kQueueNames[static_cast<u32>(s.queue)],
                s.queue == QueueChoice::shipped && s.simple ? " (simple)" : "",
                capacity_of(s.capacity, s.queue), s.foreign, kWarmStacks[s.warm],
                s.last_generation ? ", slot 0 in its last generation" : "",
                s.repeat_schedule ? ", schedule repeats" : "");
  std::string text = line;
  static constexpr const char* kWho[kScripts] = {"first thread", "script 1",  "script 2",
                                                 "script 3",     "foreign 0", "foreign 1"};
  for (u32 script = 0; script < kScripts; ++script) {
    bool any = false;
    for (const Op& op : p.ops) {
      if (op.script != script) continue;
      std::snprintf(line, sizeof line, "%s%s(%u)", any ? " " : "",
                    kOpNames[static_cast<u32>(op.code)], op.arg);
      if (!any) text.append("  ").append(kWho[script]).append(": ");
      text += line;
      any = true;
    }
    if (any) text += '\n';
  }
  const auto bytes = [&](const char* name, const std::vector<u8>& values) {
    if (values.empty()) return;
    text.append("  ").append(name).append(": ").append(model::encode_token(values)) += '\n';
  };
  bytes("schedule", p.schedule);
  bytes("faults", p.faults);
  return text;
}

std::string report(const Program& program, const RunResult& result) {
  std::string text = describe(program);
  if (!result.ok()) {
    char line[400];
    std::snprintf(line, sizeof line, "  %s: %s (%s:%d), after %u operations and %llu steps\n",
                  result.failure.invariant, result.failure.what, result.failure.file,
                  result.failure.line, result.operations,
                  static_cast<unsigned long long>(result.steps));
    text += line;
  }
  text.append("  token: ").append(model::encode_token(encode(program))) += '\n';
  return text;
}

}  // namespace gvt::sim

GVT_MODEL_END
