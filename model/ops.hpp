// SPDX-License-Identifier: MIT
//
// ops.hpp - the programs that the kernel is tried with: one list for properties, fuzzers and
// replay. Every byte string decodes to a legal program, and a program encodes to bytes that decode
// to it. An input has the three sections of bytes.hpp: program, schedule, faults. A program is two
// bytes of shape, then two bytes per operation, which names the script it belongs to: so any
// operation may be left out and the rest keeps its meaning, which is what a shrinker does. May
// include core/types.hpp and the hosted library. Tests: tests/property/kernel_properties_test.cpp.
#pragma once

#include <string>
#include <vector>

#include "model/bytes.hpp"
#include "model/coverage.hpp"

namespace gvt::sim {

enum class OpCode : u8 {
  yield,         // arg % 4 + 1 times; 70 times from 192 on, so that every 61st pick is met
  spawn,         // script 1 + arg % 3; bit 2: with a name; arg / 64 more of them
  park,          //
  park_until,    // deadline: kDelays[arg % 12] from now
  unpark,        // target: the arg-th handle issued, from the first on; from 240 on a false one
  sleep,         // deadline as above
  join,          // target as above
  join_until,    // target arg % 16, deadline arg / 16
  cancel,        // target
  name,          // the thread's own
  abandon,       // reserve a thread, and give it back
  end,           // of the script
  stop,          // the runtime
  look,          // at everything that anybody may ask
  wait_drained,  // on a foreign OS thread
  block,         // the OS thread sleeps, and with it the worker; kDelays[arg % 10]
};
inline constexpr u32 kOpCodes = 16;
inline constexpr const char* kOpNames[kOpCodes] = {
    "yield",  "spawn", "park",    "park_until", "unpark", "sleep", "join",         "join_until",
    "cancel", "name",  "abandon", "end",        "stop",   "look",  "wait_drained", "block"};

// Nanoseconds from now.
inline constexpr u64 kDelays[12] = {0, 1, 2, 3, 5, 8, 20, 40, 100, 1000, kNever - 1, kNever};

// Script 0 is the first thread's, 1 to 3 are those that spawn names, 4 and 5 belong to foreign OS
// threads.
inline constexpr u32 kScripts = 6;
inline constexpr u32 kFirstForeign = 4;

struct Op {
  u8 script = 0;  // < kScripts
  OpCode code = OpCode::yield;
  u8 arg = 0;
  friend bool operator==(const Op&, const Op&) = default;
};

enum class QueueChoice : u8 { simple_2, simple_4, ring_2, ring_4, shipped };
inline constexpr u32 kQueueChoices = 5;
inline constexpr const char* kQueueNames[kQueueChoices] = {
    "SimpleReadyQueue<2>", "SimpleReadyQueue<4>", "LockFreeReadyQueue<2>", "LockFreeReadyQueue<4>",
    "SelectedReadyQueue"};

inline constexpr u32 kCapacities[8] = {1, 2, 3, 4, 5, 6, 8, 96};
// Many threads only where a local queue has room for them: elsewhere it is no other case.
constexpr u32 capacity_of(u8 index, QueueChoice queue) {
  return kCapacities[index == 7 && queue != QueueChoice::shipped ? 6 : index];
}
inline constexpr u32 kWarmStacks[4] = {0, 1, 2, 4096};

struct Shape {
  u8 workers = 1;  // 1..3
  QueueChoice queue = QueueChoice::simple_2;
  u8 foreign = 0;              // OS threads that are no workers: 0..2
  bool until_drained = false;  // worker 0 runs as in run(), not as a helper
  u8 capacity = 3;             // index into kCapacities
  bool repeat_schedule = false;
  bool last_generation = false;  // slot 0 is about to wrap
  bool simple = false;           // SelectedReadyQueue: selects the simple one
  u8 warm = 0;                   // index into kWarmStacks
  friend bool operator==(const Shape&, const Shape&) = default;
};

struct Program {
  Shape shape;
  std::vector<Op> ops;
  std::vector<u8> schedule;
  std::vector<u8> faults;
  friend bool operator==(const Program&, const Program&) = default;
};

inline constexpr usize kShapeBytes = 2;
inline constexpr usize kOpBytes = 2;

GVT_MODEL_BEGIN

inline void decode(const u8* data, usize size, Program& into) {
  const model::Sections sections = model::split_sections(data, size);
  model::Bytes in(sections.program);
  const u8 first = in.byte();
  const u8 second = in.byte();
  Shape& s = into.shape;
  s.workers = static_cast<u8>(1 + (first & 3) % 3);
  s.queue = static_cast<QueueChoice>(((first >> 2) & 7) % kQueueChoices);
  s.foreign = static_cast<u8>(((first >> 5) & 3) % 3);
  s.until_drained = first >= 0x80;
  s.capacity = second & 7;
  s.repeat_schedule = (second & 8) != 0;
  s.last_generation = (second & 16) != 0;
  s.simple = (second & 32) != 0;
  s.warm = static_cast<u8>(second >> 6);
  into.ops.clear();
  while (in.left() >= kOpBytes) {
    const u8 head = in.byte();
    into.ops.push_back({static_cast<u8>((head >> 5) % kScripts),
                        static_cast<OpCode>((head & 31) % kOpCodes), in.byte()});
  }
  into.schedule.assign(sections.schedule.begin(), sections.schedule.end());
  into.faults.assign(sections.faults.begin(), sections.faults.end());
}

inline std::vector<u8> encode(const Program& p) {
  const Shape& s = p.shape;
  std::vector<u8> program;
  program.reserve(kShapeBytes + kOpBytes * p.ops.size());
  program.push_back(static_cast<u8>((s.workers - 1) | static_cast<u8>(s.queue) << 2 |
                                    s.foreign << 5 | (s.until_drained ? 0x80 : 0)));
  program.push_back(static_cast<u8>(s.capacity | (s.repeat_schedule ? 8 : 0) |
                                    (s.last_generation ? 16 : 0) | (s.simple ? 32 : 0) |
                                    s.warm << 6));
  for (const Op& op : p.ops) {
    program.push_back(static_cast<u8>(op.script << 5 | static_cast<u8>(op.code)));
    program.push_back(op.arg);
  }
  return model::join_sections({program, p.schedule, p.faults});
}

GVT_MODEL_END

// For people: the shape, then a line per script.
std::string describe(const Program& p);

}  // namespace gvt::sim
