// SPDX-License-Identifier: MIT
//
// mutator_test.cpp - the custom mutator: it changes one section of an input and leaves the others
// as they are, stays within its bounds, and whatever it makes is a program that the rig runs. Lies
// beside the mutator because tests/ does not include fuzz/.
#include "fuzz/mutator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "model/rig.hpp"

namespace {

using namespace gvt;
using Bytes = std::vector<u8>;

constexpr u32 kSeed = 20240607;

Bytes some_bytes(std::mt19937& random, usize most) {
  Bytes bytes(random() % (most + 1));
  for (u8& byte : bytes) byte = static_cast<u8>(random());
  return bytes;
}

// Three sections, or anything at all.
Bytes some_input(std::mt19937& random) {
  if (random() % 8 == 0) return some_bytes(random, 40);
  const Bytes program = some_bytes(random, 24);
  const Bytes schedule = some_bytes(random, 16);
  const Bytes faults = some_bytes(random, 12);
  return model::join_sections({program, schedule, faults});
}

std::array<Bytes, 3> sections_of(const Bytes& input) {
  const model::Sections s = model::split_sections(input.data(), input.size());
  const auto copy = [](model::ByteSpan span) { return Bytes(span.begin(), span.end()); };
  return {copy(s.program), copy(s.schedule), copy(s.faults)};
}

// An engine's mutator that uses all it may: each byte is another, and the size is any.
u32 mutations = 0;
usize change_all(u8* data, usize size, usize max) {
  EXPECT_LE(size, max);
  ++mutations;
  for (usize i = 0; i < max; ++i) data[i] = static_cast<u8>(data[i] + 1);
  return mutations % (max + 1);
}

// In a buffer with bytes behind it, which must stay.
Bytes mutate(const Bytes& input, usize max, u32 seed) {
  constexpr u8 kGuard = 0xa5;
  Bytes buffer(std::max(input.size(), max) + 16, kGuard);
  std::copy(input.begin(), input.end(), buffer.begin());
  const usize size = fuzz::mutate_sections(buffer.data(), input.size(), max, seed, change_all);
  EXPECT_LE(size, max);
  for (usize i = std::max(input.size(), max); i < buffer.size(); ++i) EXPECT_EQ(buffer[i], kGuard);
  buffer.resize(std::min(size, max));
  return buffer;
}

TEST(Mutator, ChangesOneSectionAndEachOfThem) {
  std::mt19937 random(kSeed);
  std::array<u32, 3> changed{};
  for (u32 round = 0; round < 20'000; ++round) {
    const Bytes input = some_input(random);
    const auto before = sections_of(input);
    const auto after = sections_of(mutate(input, 4096, round));
    u32 differ = 0;
    for (u32 i = 0; i < 3; ++i) {
      if (before[i] == after[i]) continue;
      ++differ;
      ++changed[i];
    }
    ASSERT_LE(differ, 1u) << "round " << round;
  }
  for (const u32 times : changed) EXPECT_GT(times, 2000u);
  EXPECT_GT(mutations, 5000u);
}

TEST(Mutator, StaysWithinItsBounds) {
  std::mt19937 random(kSeed);
  for (u32 round = 0; round < 20'000; ++round) {
    // The engine's input is never longer than its bound.
    Bytes input = some_input(random);
    const usize max = random() % 64;
    if (input.size() > max) input.resize(max);
    mutate(input, max, round);
  }
}

TEST(Mutator, IsAFunctionOfItsSeed) {
  std::mt19937 random(kSeed);
  for (u32 round = 0; round < 2000; ++round) {
    const Bytes input = some_input(random);
    mutations = round;
    const Bytes first = mutate(input, 256, round);
    mutations = round;
    ASSERT_EQ(first, mutate(input, 256, round)) << "round " << round;
  }
}

TEST(Mutator, CrossesWholeSectionsOfBothParents) {
  std::mt19937 random(kSeed);
  for (u32 round = 0; round < 20'000; ++round) {
    const Bytes a = some_input(random);
    const Bytes b = some_input(random);
    const usize max = random() % 4 == 0 ? random() % 64 : 4096;
    Bytes out(max + 16, 0xa5);
    const usize size =
        fuzz::cross_sections(a.data(), a.size(), b.data(), b.size(), out.data(), max, round);
    ASSERT_LE(size, max);
    for (usize i = max; i < out.size(); ++i) ASSERT_EQ(out[i], 0xa5);
    if (max < 4096) continue;  // cut
    out.resize(size);
    const auto of_a = sections_of(a);
    const auto of_b = sections_of(b);
    const auto child = sections_of(out);
    u32 from_a = 0;
    u32 from_b = 0;
    for (u32 i = 0; i < 3; ++i) {
      ASSERT_TRUE(child[i] == of_a[i] || child[i] == of_b[i]) << "round " << round;
      from_a += child[i] == of_a[i] ? 1 : 0;
      from_b += child[i] == of_b[i] ? 1 : 0;
    }
    ASSERT_TRUE(from_a > 0 && from_b > 0) << "round " << round;
  }
}

// From one input to the next, as an engine goes on: each is a legal program, and the kernel holds.
TEST(Mutator, WhateverComesOutIsALegalProgram) {
  std::mt19937 random(kSeed);
  Bytes input;
  for (u32 round = 0; round < 5000; ++round) {
    if (round % 50 == 0) input = some_input(random);
    input = mutate(input, 256, round);
    sim::Program program;
    sim::decode(input.data(), input.size(), program);
    ASSERT_TRUE(program.shape.workers >= 1 && program.shape.workers <= 3);
    for (const sim::Op& op : program.ops) {
      ASSERT_LT(op.script, sim::kScripts);
      ASSERT_LT(static_cast<u32>(op.code), sim::kOpCodes);
    }
    const Bytes canonical = sim::encode(program);
    sim::Program again;
    sim::decode(canonical.data(), canonical.size(), again);
    ASSERT_EQ(again, program) << "round " << round;
    const sim::RunResult result = sim::run(program);
    ASSERT_TRUE(result.ok()) << sim::report(program, result);
  }
}

}  // namespace
