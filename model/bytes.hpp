// SPDX-License-Identifier: MIT
//
// bytes.hpp - from bytes to programs and back: a reader that never runs dry, the three sections of
// a kernel input, and the hex token that a failure prints. Every byte string is a legal input;
// only a token, which a person may have mistyped, can be malformed. May include core/types.hpp and
// the hosted library. Tests: tests/property/containers_properties_test.cpp ("bytes").
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace gvt::model {

using ByteSpan = std::span<const u8>;

// Reads numbers off the front. Past the end everything is 0, so no input is too short.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(ByteSpan bytes) noexcept : bytes_(bytes) {}
  Bytes(const u8* data, usize size) noexcept : bytes_(data, size) {}

  bool empty() const noexcept { return at_ >= bytes_.size(); }
  usize left() const noexcept { return empty() ? 0 : bytes_.size() - at_; }
  usize offset() const noexcept { return at_; }

  u8 byte() noexcept { return empty() ? u8{0} : bytes_[at_++]; }
  bool flag() noexcept { return (byte() & 1) != 0; }
  u16 number16() noexcept { return static_cast<u16>(number(2)); }
  u32 number32() noexcept { return static_cast<u32>(number(4)); }
  u64 number64() noexcept { return number(8); }

  // 0 .. bound-1, from as few bytes as the bound needs; 0 when bound is 0. Not uniform: an input
  // is chosen by an engine, and a small change of a byte shall be a small change of the number.
  u32 below(u32 bound) noexcept {
    if (bound <= 1) return 0;
    const u32 bytes = bound <= (1u << 8) ? 1 : bound <= (1u << 16) ? 2 : 4;
    return static_cast<u32>(number(bytes) % bound);
  }

 private:
  u64 number(u32 bytes) noexcept {  // little-endian
    u64 value = 0;
    for (u32 i = 0; i < bytes; ++i) value |= u64{byte()} << (8 * i);
    return value;
  }

  ByteSpan bytes_;
  usize at_ = 0;
};

// An input of the kernel's targets: [u16 program length][u16 schedule length], little-endian, then
// program, schedule, and what is left is faults. fuzz/mutator.cpp edits the three apart.
struct Sections {
  static constexpr usize kHeaderBytes = 4;
  static constexpr usize kMaxLength = 0xffff;  // of program, and of schedule

  ByteSpan program;
  ByteSpan schedule;
  ByteSpan faults;
};

// Accepts every byte string: a missing header byte is 0, a length ends where the input does.
inline Sections split_sections(const u8* data, usize size) noexcept {
  const ByteSpan all(data, size);
  Bytes header(all.first(std::min(size, Sections::kHeaderBytes)));
  const usize wanted_program = header.number16();
  const usize wanted_schedule = header.number16();
  ByteSpan rest = all.subspan(std::min(size, Sections::kHeaderBytes));
  Sections sections;
  sections.program = rest.first(std::min(wanted_program, rest.size()));
  rest = rest.subspan(sections.program.size());
  sections.schedule = rest.first(std::min(wanted_schedule, rest.size()));
  sections.faults = rest.subspan(sections.schedule.size());
  return sections;
}

// The input that splits into these sections. Program and schedule are cut at kMaxLength.
inline std::vector<u8> join_sections(const Sections& sections) {
  const ByteSpan program =
      sections.program.first(std::min(sections.program.size(), Sections::kMaxLength));
  const ByteSpan schedule =
      sections.schedule.first(std::min(sections.schedule.size(), Sections::kMaxLength));
  std::vector<u8> out;
  out.reserve(Sections::kHeaderBytes + program.size() + schedule.size() + sections.faults.size());
  for (const usize length : {program.size(), schedule.size()}) {
    out.push_back(static_cast<u8>(length & 0xff));
    out.push_back(static_cast<u8>(length >> 8));
  }
  for (const ByteSpan part : {program, schedule, sections.faults}) {
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

// ---- replay tokens: the input in hexadecimal, two digits per byte ----

inline std::string encode_token(ByteSpan bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string token;
  token.reserve(2 * bytes.size());
  for (const u8 byte : bytes) {
    token += kDigits[byte >> 4];
    token += kDigits[byte & 15];
  }
  return token;
}

inline constexpr usize kTokenGood = ~usize{0};

// Fills `out` and returns kTokenGood; or leaves `out` empty and returns the offset of the first bad
// character, which is the token's length when its last digit has no partner.
inline usize parse_token(std::string_view token, std::vector<u8>& out) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  out.clear();
  for (usize i = 0; i < token.size(); ++i) {
    if (digit(token[i]) >= 0) continue;
    return i;
  }
  if (token.size() % 2 != 0) return token.size();
  out.reserve(token.size() / 2);
  for (usize i = 0; i < token.size(); i += 2) {
    out.push_back(static_cast<u8>(digit(token[i]) << 4 | digit(token[i + 1])));
  }
  return kTokenGood;
}

}  // namespace gvt::model
