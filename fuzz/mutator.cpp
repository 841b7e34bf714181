// SPDX-License-Identifier: MIT
//
// mutator.cpp - see mutator.hpp. LLVMFuzzerMutate is libFuzzer's; engines that lack it get a small
// byte mutator of our own.
#include "fuzz/mutator.hpp"

#include <array>
#include <cstring>

extern "C" [[gnu::weak]] size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace gvt::fuzz {

namespace {

using model::ByteSpan;
using model::Sections;
using Random = std::minstd_rand;
using Buffer = std::vector<u8>;

usize below(Random& random, usize bound) { return bound == 0 ? 0 : random() % bound; }

Buffer copy(ByteSpan bytes) { return {bytes.begin(), bytes.end()}; }

// Writes what splits into the three; what does not fit is cut off the faults, then the schedule.
usize write(std::array<Buffer, 3> parts, u8* out, usize max_size) {
  if (max_size < Sections::kHeaderBytes) return 0;
  usize room = max_size - Sections::kHeaderBytes;
  for (u32 i = 0; i < 3; ++i) {
    const usize most = i < 2 ? std::min(room, Sections::kMaxLength) : room;
    if (parts[i].size() > most) parts[i].resize(most);
    room -= parts[i].size();
  }
  const Buffer joined = model::join_sections({parts[0], parts[1], parts[2]});
  std::memcpy(out, joined.data(), joined.size());
  return joined.size();
}

// Operations are a few bytes long: a run of 1-4 units of 1-4 bytes.
struct Run {
  usize at;
  usize length;
};
Run some_run(Random& random, const Buffer& bytes) {
  const usize unit = 1 + below(random, 4);
  const usize at = below(random, bytes.size() / unit + 1) * unit;
  const usize left = bytes.size() - std::min(at, bytes.size());
  return {std::min(at, bytes.size()), std::min(left, unit * (1 + below(random, 4)))};
}

void insert(Buffer& bytes, usize at, const Buffer& what) {
  bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at, bytes.size())),
               what.begin(), what.end());
}

Buffer slice(const Buffer& bytes, Run run) {
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(run.at);
  return {from, from + static_cast<std::ptrdiff_t>(run.length)};
}

void change(Buffer& bytes, Random& random, usize max_size, ByteMutator mutate) {
  const Run run = some_run(random, bytes);
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(run.at);
  switch (below(random, 8)) {
    case 0: bytes.erase(from, from + static_cast<std::ptrdiff_t>(run.length)); return;
    case 1: insert(bytes, run.at, slice(bytes, run)); return;                           // twice
    case 2: insert(bytes, below(random, bytes.size() + 1), slice(bytes, run)); return;  // elsewhere
    default: break;
  }
  // The engine's own: bytes, bits, numbers, dictionary, comparisons it has seen.
  const usize most =
      std::max<usize>(bytes.size() + 1, std::min<usize>(2 * bytes.size() + 16, max_size));
  const usize size = bytes.size();
  bytes.resize(most);
  bytes.resize(std::min(most, mutate(bytes.data(), size, most)));
}

usize mutate_bytes(u8* data, usize size, usize max_size) {
  static Random random(1);
  if (max_size == 0) return 0;
  if (size == 0 || (size < max_size && below(random, 4) == 0)) {
    data[size] = static_cast<u8>(random() >> 8);
    return size + 1;
  }
  u8& byte = data[below(random, size)];
  const u32 kind = static_cast<u32>(below(random, 3));
  byte = static_cast<u8>(kind == 0   ? byte ^ (1u << below(random, 8))
                         : kind == 1 ? byte + 1 - 2 * below(random, 2)
                                     : random() >> 8);
  return size;
}

}  // namespace

usize mutate_sections(u8* data, usize size, usize max_size, u32 seed, ByteMutator mutate) {
  Random random(seed);
  const Sections sections = model::split_sections(data, size);
  std::array<Buffer, 3> parts{copy(sections.program), copy(sections.schedule),
                              copy(sections.faults)};
  // The program and the schedule matter most, so each is chosen twice as often as the faults.
  static constexpr u32 kWeights[] = {0, 0, 1, 1, 2};
  Buffer& part = parts[kWeights[below(random, std::size(kWeights))]];
  if (below(random, 32) == 0) {
    part.clear();  // the simplest schedule, or no fault
  } else {
    change(part, random, max_size, mutate);
  }
  return write(std::move(parts), data, max_size);
}

usize cross_sections(const u8* a, usize a_size, const u8* b, usize b_size, u8* out, usize max_size,
                     u32 seed) {
  Random random(seed);
  const Sections first = model::split_sections(a, a_size);
  const Sections second = model::split_sections(b, b_size);
  // 1 .. 6: at least one section of each parent.
  const usize take = 1 + below(random, 6);
  return write({copy((take & 1) != 0 ? first.program : second.program),
                copy((take & 2) != 0 ? first.schedule : second.schedule),
                copy((take & 4) != 0 ? first.faults : second.faults)},
               out, max_size);
}

}  // namespace gvt::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  return gvt::fuzz::mutate_sections(
      data, size, max_size, seed,
      LLVMFuzzerMutate != nullptr ? LLVMFuzzerMutate : gvt::fuzz::mutate_bytes);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t max_size,
                                            unsigned int seed) {
  return gvt::fuzz::cross_sections(a, a_size, b, b_size, out, max_size, seed);
}
