// SPDX-License-Identifier: MIT
//
// ports.hpp - ports and nodes for tests of single parts of core.
#pragma once

#include <vector>

#include "gvthread/kernel.hpp"

namespace gvt::test {

// The Linux port that counts how often a spinner gave up its CPU.
struct CountingPort : LinuxPort {
  static inline std::atomic<u64> relinquished{0};
  static void relinquish() noexcept {
    relinquished.fetch_add(1, std::memory_order_relaxed);
    LinuxPort::relinquish();
  }
};

// What a queue holds.
struct Node {
  Node* next = nullptr;
  bool queued = false;
  u32 value = 0;
  void prefetch() const noexcept {}
};

inline std::vector<Node> make_nodes(u32 count) {
  std::vector<Node> nodes(count);
  for (u32 i = 0; i < count; ++i) nodes[i].value = i;
  return nodes;
}

// 64-byte aligned bytes.
class AlignedBytes {
 public:
  explicit AlignedBytes(u64 bytes) : lines_((bytes + 63) / 64 + 1) {}
  std::byte* data() noexcept { return lines_.data()->bytes; }
  const std::byte* data() const noexcept { return lines_.data()->bytes; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64]{};
  };
  std::vector<Line> lines_;
};

}  // namespace gvt::test
