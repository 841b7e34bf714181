// SPDX-License-Identifier: MIT
//
// config_test.cpp - core/config.hpp: each field below, at and above its bounds.
#include "core/config.hpp"

#include <gtest/gtest.h>

#include <string>

namespace gvt {
namespace {

template <class Change>
ConfigError check_with(Change&& change) {
  Config c{.slot_bytes = 64 * 1024};
  change(c);
  return check_config(c);
}

void expect_bad(const ConfigError& e, const char* field, u64 value, u64 min, u64 max) {
  ASSERT_FALSE(e.ok()) << field;
  EXPECT_STREQ(e.field, field);
  EXPECT_EQ(e.value, value);
  EXPECT_EQ(e.min, min);
  EXPECT_EQ(e.max, max);
}

TEST(Config, TheDefaultIsGood) {
  static_assert(check_config(Config{}).ok());
  EXPECT_TRUE(check_config({}).ok());
}

TEST(Config, Workers) {
  const auto with = [](u32 n) { return check_with([n](Config& c) { c.workers = n; }); };
  expect_bad(with(0), "workers", 0, 1, kMaxWorkers);
  EXPECT_TRUE(with(1).ok());
  EXPECT_TRUE(with(kMaxWorkers).ok());
  expect_bad(with(kMaxWorkers + 1), "workers", kMaxWorkers + 1, 1, kMaxWorkers);
  expect_bad(with(~u32{0}), "workers", ~u32{0}, 1, kMaxWorkers);
}

TEST(Config, MaxThreads) {
  const auto with = [](u32 n) { return check_with([n](Config& c) { c.max_threads = n; }); };
  expect_bad(with(0), "max_threads", 0, 1, kMaxThreads);
  EXPECT_TRUE(with(1).ok());
  EXPECT_TRUE(with(kMaxThreads).ok());
  expect_bad(with(kMaxThreads + 1), "max_threads", kMaxThreads + 1, 1, kMaxThreads);
  expect_bad(with(~u32{0}), "max_threads", ~u32{0}, 1, kMaxThreads);
}

TEST(Config, SlotBytes) {
  const auto with = [](u64 n) { return check_with([n](Config& c) { c.slot_bytes = n; }); };
  for (const u64 bad : {u64{0}, u64{1}, u64{4096}, kMinSlotBytes - 1, kMinSlotBytes / 2,
                        kMaxSlotBytes + 1, kMaxSlotBytes * 2, ~u64{0}}) {
    expect_bad(with(bad), "slot_bytes", bad, kMinSlotBytes, kMaxSlotBytes);
  }
  for (const u64 bad : {kMinSlotBytes + 1, kMinSlotBytes * 3, kMaxSlotBytes - 4096}) {
    expect_bad(with(bad), "slot_bytes", bad, kMinSlotBytes, kMaxSlotBytes);
    EXPECT_STREQ(with(bad).rule, "a power of two");
  }
  for (u64 good = kMinSlotBytes; good <= u64{4} << 20; good *= 2)
    EXPECT_TRUE(with(good).ok()) << good;
  EXPECT_TRUE(check_config({.max_threads = 1, .slot_bytes = kMaxSlotBytes}).ok());
}

TEST(Config, ThreadsTimesSlotBytes) {
  const u32 most = static_cast<u32>(kMaxStackSpace / kMaxSlotBytes);
  EXPECT_TRUE(check_config({.max_threads = most, .slot_bytes = kMaxSlotBytes}).ok());
  const ConfigError e = check_config({.max_threads = most + 1, .slot_bytes = kMaxSlotBytes});
  expect_bad(e, "max_threads", most + 1, 1, most);
  EXPECT_NE(e.rule, nullptr);
}

TEST(Config, Queue) {
  const auto with = [](u8 n) {
    return check_with([n](Config& c) { c.queue = static_cast<QueueKind>(n); });
  };
  EXPECT_TRUE(with(0).ok());
  EXPECT_TRUE(with(1).ok());
  expect_bad(with(2), "queue", 2, 0, 1);
  expect_bad(with(255), "queue", 255, 0, 1);
}

TEST(Config, Guards) {
  const auto with = [](u8 n) {
    return check_with([n](Config& c) { c.guards = static_cast<GuardMode>(n); });
  };
  for (u8 good = 0; good <= 3; ++good) EXPECT_TRUE(with(good).ok());
  expect_bad(with(4), "guards", 4, 0, 3);
  expect_bad(with(255), "guards", 255, 0, 3);
}

TEST(Config, WarmStacksHasNoBounds) {
  for (const u32 n : {0u, 1u, ~0u})
    EXPECT_TRUE(check_with([n](Config& c) { c.warm_stacks = n; }).ok());
}

TEST(Config, TheFirstBadFieldIsNamed) {
  EXPECT_STREQ(check_config({.workers = 0, .max_threads = 0, .slot_bytes = 0}).field, "workers");
  EXPECT_STREQ(check_config({.max_threads = 0, .slot_bytes = 0}).field, "max_threads");
}

}  // namespace
}  // namespace gvt
