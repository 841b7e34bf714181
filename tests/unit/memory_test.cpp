// SPDX-License-Identifier: MIT
//
// memory_test.cpp - platform/linux/memory.hpp: the reservation, guards in each mode, and pages that
// go back to the system.
#include "platform/linux/memory.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "tests/support/build.hpp"
#include "tests/support/death.hpp"
#include "tests/support/proc.hpp"

namespace gvt::platform_linux {
namespace {

constexpr u64 kSlot = 64 * 1024;

Config config_of(u32 threads, GuardMode guards, u64 slot_bytes = kSlot) {
  return {.max_threads = threads, .slot_bytes = slot_bytes, .guards = guards};
}

// Mapped, all stacks usable; unmapped at the end.
struct Mapped {
  explicit Mapped(const Config& config, u64 kernel_bytes = 0) {
    error = memory.map(config, kernel_bytes);
  }
  ~Mapped() { memory.unmap(); }
  void use(u32 count) {
    for (u32 first = 0; first < count; first += 32) {
      const u32 n = count - first < 32 ? count - first : 32;
      ASSERT_EQ(memory.admit(first, n), n);
      ASSERT_EQ(memory.prepare(first, n), n);
    }
  }
  Memory memory;
  MapError error;
};

bool has_guard_install() {
  Mapped m(config_of(1, GuardMode::madvise));
  return m.error.error == Error::ok;
}

u32 resident_pages(const std::byte* begin, u64 bytes) {
  const u64 pages = bytes / kPageBytes;
  std::string seen(pages, 0);
  EXPECT_EQ(
      mincore(const_cast<std::byte*>(begin), bytes, reinterpret_cast<unsigned char*>(seen.data())),
      0);
  u32 resident = 0;
  for (const char c : seen) resident += c & 1;
  return resident;
}

// Not instrumented: it is meant to fault.
[[gnu::noinline]] void write_byte(std::byte* at) {
  *static_cast<volatile char*>(static_cast<void*>(at)) = 1;
}

class MemoryGuards : public testing::TestWithParam<GuardMode> {
 protected:
  void SetUp() override {
    if (GetParam() == GuardMode::madvise && !has_guard_install())
      GTEST_SKIP() << "no MADV_GUARD_INSTALL in this kernel";
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, MemoryGuards,
                         testing::Values(GuardMode::madvise, GuardMode::mprotect, GuardMode::none));

TEST_P(MemoryGuards, LayoutAndAlignment) {
  for (const u64 slot : {kMinSlotBytes, kSlot, u64{1} << 20}) {
    Mapped m(config_of(5, GetParam(), slot), 10'000);
    ASSERT_EQ(m.error.error, Error::ok);
    EXPECT_EQ(m.memory.guards(), GetParam());
    EXPECT_EQ(reinterpret_cast<usize>(m.memory.kernel_memory()) % kPageBytes, 0u);
    EXPECT_GE(m.memory.bottom(0), m.memory.kernel_memory() + 10'000 + kPageBytes);
    for (u32 s = 0; s < 5; ++s) {
      EXPECT_EQ(reinterpret_cast<usize>(m.memory.top(s)) % 64, 0u);
      EXPECT_EQ(reinterpret_cast<usize>(m.memory.bottom(s)) % kPageBytes, 0u);
      EXPECT_EQ(m.memory.top(s) - m.memory.bottom(s), static_cast<long>(slot));
      if (s > 0) {
        EXPECT_EQ(m.memory.bottom(s) - kPageBytes, m.memory.top(s - 1));
      }
    }
  }
}

TEST_P(MemoryGuards, KernelMemoryIsZeroAndStacksAreWritable) {
  Mapped m(config_of(40, GetParam()), 3 * kPageBytes);
  ASSERT_EQ(m.error.error, Error::ok);
  for (u32 i = 0; i < 3 * kPageBytes; ++i) ASSERT_EQ(m.memory.kernel_memory()[i], std::byte{0});
  std::memset(m.memory.kernel_memory(), 1, 3 * kPageBytes);
  m.use(40);
  for (u32 s = 0; s < 40; ++s) {
    std::memset(m.memory.bottom(s), 1, kSlot);
  }
}

// The guard lies below the stack, which grows down: the byte under the lowest usable one faults.
TEST_P(MemoryGuards, AFaultBelowTheStackKills) {
  if (GetParam() == GuardMode::none) GTEST_SKIP() << "no guards, as asked";
  Mapped m(config_of(40, GetParam()));
  ASSERT_EQ(m.error.error, Error::ok);
  m.use(40);
  for (const u32 slot : {0u, 7u, 39u}) {
    write_byte(m.memory.bottom(slot));
    write_byte(m.memory.top(slot) - 1);
    if (test::kSanitized) {  // their own handler reports it
      EXPECT_DEATH(write_byte(m.memory.bottom(slot) - 1), "SEGV");
      EXPECT_DEATH(write_byte(m.memory.bottom(slot) - kPageBytes), "SEGV");
    } else {
      EXPECT_EXIT(write_byte(m.memory.bottom(slot) - 1), testing::KilledBySignal(SIGSEGV), "");
      EXPECT_EXIT(write_byte(m.memory.bottom(slot) - kPageBytes), testing::KilledBySignal(SIGSEGV),
                  "");
    }
  }
}

TEST_P(MemoryGuards, GuardAtNamesTheSlot) {
  Mapped m(config_of(4, GetParam()), 100);
  ASSERT_EQ(m.error.error, Error::ok);
  for (u32 s = 0; s < 4; ++s) {
    EXPECT_EQ(m.memory.guard_at(m.memory.bottom(s) - 1), s);
    EXPECT_EQ(m.memory.guard_at(m.memory.bottom(s) - kPageBytes), s);
    EXPECT_EQ(m.memory.guard_at(m.memory.bottom(s)), ~u32{0});
    EXPECT_EQ(m.memory.guard_at(m.memory.top(s) - 1), ~u32{0});
  }
  EXPECT_EQ(m.memory.guard_at(m.memory.top(3)), ~u32{0});
  EXPECT_EQ(m.memory.guard_at(m.memory.kernel_memory()), ~u32{0});
  EXPECT_EQ(m.memory.guard_at(nullptr), ~u32{0});
}

TEST_P(MemoryGuards, UnmapGivesEverythingBack) {
  const u64 before = test::mapping_count();
  for (int i = 0; i < 5; ++i) {
    Mapped m(config_of(100, GetParam()));
    ASSERT_EQ(m.error.error, Error::ok);
    m.use(100);
  }
  EXPECT_LE(test::mapping_count(), before + 2);
  Memory never_mapped;
  never_mapped.unmap();
  EXPECT_EQ(never_mapped.guard_at(&never_mapped), ~u32{0});
}

// A discard gives a stack's pages back, and only those: its guard and its neighbours stay.
TEST_P(MemoryGuards, DiscardReturnsPagesAndKeepsTheGuard) {
  if (test::kTsan) GTEST_SKIP() << "mincore sees shadow effects under this sanitizer";
  Mapped m(config_of(100, GetParam()), kPageBytes);
  ASSERT_EQ(m.error.error, Error::ok);
  m.use(100);
  const u64 usable = kSlot;
  u32 odd[50];
  for (u32 s = 0; s < 100; ++s) {
    std::memset(m.memory.bottom(s), 0x5a, usable);
    if (s % 2 == 1) odd[s / 2] = s;
  }
  std::memset(m.memory.kernel_memory(), 0x77, kPageBytes);
  m.memory.discard(odd, 50);
  for (u32 s = 0; s < 100; ++s) {
    const u32 resident = resident_pages(m.memory.bottom(s), usable);
    EXPECT_EQ(resident, s % 2 == 1 ? 0u : usable / kPageBytes) << s;
    EXPECT_EQ(*m.memory.bottom(s), s % 2 == 1 ? std::byte{0} : std::byte{0x5a});
  }
  EXPECT_EQ(*m.memory.kernel_memory(), std::byte{0x77});
  if (GetParam() != GuardMode::none) {
    EXPECT_DEATH(write_byte(m.memory.bottom(1) - 1), "");
  }
}

TEST(Memory, AutomaticNamesWhatItChose) {
  Mapped m(config_of(4, GuardMode::automatic));
  ASSERT_EQ(m.error.error, Error::ok);
  EXPECT_EQ(m.memory.guards(), has_guard_install() ? GuardMode::madvise : GuardMode::mprotect);
}

TEST(Memory, MoveLeavesTheSourceEmpty) {
  Mapped m(config_of(4, GuardMode::none));
  std::byte* const base = m.memory.kernel_memory();
  Memory moved(std::move(m.memory));
  EXPECT_EQ(moved.kernel_memory(), base);
  EXPECT_EQ(m.memory.kernel_memory(), nullptr);
  EXPECT_EQ(moved.top(3) - moved.bottom(3), static_cast<long>(kSlot));
  moved.unmap();
}

// 1 000 000 stacks, each with its guard, in at most 10 mappings more than before.
TEST(Memory, AMillionGuardsAreAFewMappings) {
  if (!has_guard_install()) GTEST_SKIP() << "no MADV_GUARD_INSTALL in this kernel";
  if (test::kSanitized) GTEST_SKIP() << "the shadow of 64 GiB is no part of what is measured";
  const u64 before = test::mapping_count();
  Mapped m(config_of(1'000'000, GuardMode::madvise));
  ASSERT_EQ(m.error.error, Error::ok);
  m.use(1'000'000);
  EXPECT_LE(test::mapping_count(), before + 10);
  write_byte(m.memory.bottom(999'999));
  EXPECT_EXIT(write_byte(m.memory.bottom(999'999) - 1), testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(write_byte(m.memory.bottom(500'000) - 1), testing::KilledBySignal(SIGSEGV), "");
}

TEST(Memory, MoreMprotectGuardsThanTheKernelMaps) {
  u64 limit = 65530;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  if (limit > kMaxThreads) GTEST_SKIP() << "vm.max_map_count is beyond the most threads";
  const u64 before = test::mapping_count();
  Mapped m(config_of(static_cast<u32>(limit), GuardMode::mprotect));
  EXPECT_EQ(m.error.error, Error::map_limit);
  EXPECT_GT(m.error.limit, 0u);
  EXPECT_LT(m.error.limit, limit / 2);
  EXPECT_EQ(m.memory.kernel_memory(), nullptr);
  EXPECT_LE(test::mapping_count(), before + 1);
}

// What is promised at the start can be had: every guard up to the stated limit.
TEST(Memory, TheStatedMprotectLimitIsUsable) {
  if (test::kSanitized) GTEST_SKIP() << "the sanitizer's own mappings grow meanwhile";
  u64 limit = 65530;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  if (limit > 200'000) GTEST_SKIP() << "vm.max_map_count is large here: too slow";
  Mapped too_many(config_of(static_cast<u32>(limit), GuardMode::mprotect));
  ASSERT_EQ(too_many.error.error, Error::map_limit);
  const u32 most = static_cast<u32>(too_many.error.limit);
  Mapped m(config_of(most, GuardMode::mprotect));
  ASSERT_EQ(m.error.error, Error::ok);
  m.use(most);
  EXPECT_EXIT(write_byte(m.memory.bottom(most - 1) - 1), testing::KilledBySignal(SIGSEGV), "");
}

TEST(Memory, AReservationThatTheSystemRefuses) {
  if (test::kSanitized) GTEST_SKIP() << "sanitizers need a large address space themselves";
  // 64 TiB, twice: the second can't fit next to the first in 47 bits with everything else.
  const Config huge{.max_threads = 65536, .slot_bytes = kMaxSlotBytes, .guards = GuardMode::none};
  ASSERT_TRUE(check_config(huge).ok());
  Mapped first(huge);
  Mapped second(huge);
  EXPECT_TRUE(first.error.error == Error::no_memory || second.error.error == Error::no_memory);
  EXPECT_TRUE(first.error.os_errno == ENOMEM || second.error.os_errno == ENOMEM);
}

TEST(MemoryDeathTest, AGuardThatTheKernelRefusesLaterPanics) {
  if (!has_guard_install()) GTEST_SKIP() << "no MADV_GUARD_INSTALL in this kernel";
  Mapped m(config_of(64, GuardMode::madvise), kPageBytes);
  EXPECT_PANIC(
      {
        munmap(m.memory.kernel_memory() + kPageBytes, 64 * (kSlot + kPageBytes));
        m.memory.prepare(0, 1);
      },
      "INV-GUARD-1");
}

// ---- traps ----

TEST(Trap, GuardAtTheWrongEnd) {
  Mapped m(config_of(3, GuardMode::automatic));
  ASSERT_EQ(m.error.error, Error::ok);
  m.use(3);
  // The highest byte is where a stack begins: it must be usable. The guard is below the lowest.
  write_byte(m.memory.top(1) - 1);
  write_byte(m.memory.bottom(1));
  EXPECT_DEATH(write_byte(m.memory.bottom(1) - 1), "");
}

}  // namespace
}  // namespace gvt::platform_linux
