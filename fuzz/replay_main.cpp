// SPDX-License-Identifier: MIT
//
// replay_main.cpp - runs inputs through a fuzz target without any engine: corpora as tests, and a
// find again under a debugger. Files are raw inputs; one whose name ends in .hex, and an argument
// after --token, is a token of hexadecimal digits (white space and lines from # on do not count).
// Exit code: 0 all ran, 2 bad usage or input; a broken invariant aborts.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "model/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const gvt::u8* data, gvt::usize size);
extern "C" [[gnu::weak]] int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

namespace fs = std::filesystem;
using gvt::u8;
using gvt::usize;

constexpr usize kMaxInputBytes = usize{1} << 20;

struct Refused {
  std::string reason;
};

std::vector<u8> parse_text(const std::string& text) {
  // Blanks keep the digits' offsets: a bad one is named by where it is in the file.
  std::string digits;
  std::vector<usize> offsets;
  bool comment = false;
  for (usize i = 0; i < text.size(); ++i) {
    const char c = text[i];
    comment = c != '\n' && (comment || c == '#');
    if (comment || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
    digits += c;
    offsets.push_back(i);
  }
  std::vector<u8> bytes;
  const usize bad = gvt::model::parse_token(digits, bytes);
  if (bad == gvt::model::kTokenGood) return bytes;
  if (bad == digits.size()) {
    throw Refused{"offset " + std::to_string(offsets.back()) + ": the last digit has no partner"};
  }
  throw Refused{"offset " + std::to_string(offsets[bad]) + ": not a hexadecimal digit"};
}

std::vector<u8> read_input(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) throw Refused{"not a readable file"};
  const auto size = fs::file_size(path, error);
  if (error) throw Refused{error.message()};
  if (size > kMaxInputBytes) {
    throw Refused{"offset " + std::to_string(kMaxInputBytes) + ": longer than an input may be"};
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Refused{"can't be opened"};
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.size() != size) throw Refused{"can't be read"};
  if (path.extension() == ".hex") return parse_text(text);
  return {text.begin(), text.end()};
}

void run(const std::vector<u8>& bytes) {
  // A copy of the exact size on the heap, so that AddressSanitizer sees a read past its end.
  const std::vector<u8> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

// The files below a folder, in the order of their names.
std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename() != "README.md") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

int usage(const char* program) {
  std::cerr << "usage: " << program << " FILE|FOLDER...  or  --token HEX\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  if (argc < 2) return usage(argv[0]);
  usize ran = 0;
  std::string at;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      at = argument;
      if (argument == "--token") {
        if (++i == argc) return usage(argv[0]);
        run(parse_text(argv[i]));
        ++ran;
        continue;
      }
      if (argument.starts_with("-")) return usage(argv[0]);
      const bool folder = fs::is_directory(argument);
      for (const fs::path& path : folder ? files_of(argument) : std::vector<fs::path>{argument}) {
        at = path.string();
        run(read_input(path));
        ++ran;
      }
    }
  } catch (const Refused& refused) {
    std::cerr << argv[0] << ": " << at << ": " << refused.reason << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << argv[0] << ": " << at << ": " << error.what() << '\n';
    return 2;
  }
  std::cout << ran << " inputs ran\n";
  return 0;
}
