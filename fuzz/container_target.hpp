// SPDX-License-Identifier: MIT
//
// container_target.hpp - a fuzz target made of a container's rig (model/containers.hpp). A wrong
// answer and a broken invariant of core end the same way: the invariant's name, the program, its
// token, abort. With GVT_CANARY in the environment the target must fail: a check
// of the harness itself. Each target is one translation unit that ends with
// GVT_FUZZ_CONTAINER(Rig).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "model/containers.hpp"

namespace gvt::fuzz {

struct Current {
  model::ByteSpan bytes;
  void (*print)(const model::Program&) = nullptr;
};

inline Current current;

[[noreturn]] inline void give_up() {
  if (current.print != nullptr) current.print(model::Program(current.bytes));
  std::cerr.flush();
  std::abort();
}

template <class Rig>
int run(const u8* data, usize size) {
  static Rig& rig = *new Rig;  // never destroyed: the engine leaves with exit()
  current.bytes = model::ByteSpan(data, size);
  current.print = [](const model::Program& program) {
    model::print_program<Rig>(std::cerr, program);
  };
  const model::Verdict verdict = model::run_program(rig, model::Program(current.bytes));
  if (!verdict.ok()) [[unlikely]] {
    model::print_verdict(std::cerr, Rig::kName, verdict);
    give_up();
  }
  return 0;
}

}  // namespace gvt::fuzz

#define GVT_FUZZ_CONTAINER(Rig)                                                                   \
  namespace gvt {                                                                                 \
  void panic(const char* invariant, const char* condition, const char* file, int line) noexcept { \
    std::fprintf(stderr, "%s: %s broken in core: %s (%s:%d)\n", Rig::kName, invariant, condition, \
                 file, line);                                                                     \
    fuzz::give_up();                                                                              \
  }                                                                                               \
  }                                                                                               \
  extern "C" int LLVMFuzzerInitialize(int*, char***) {                                            \
    gvt::model::canary = std::getenv("GVT_CANARY") != nullptr;                                    \
    return 0;                                                                                     \
  }                                                                                               \
  extern "C" int LLVMFuzzerTestOneInput(const gvt::u8* data, gvt::usize size) {                   \
    return gvt::fuzz::run<Rig>(data, size);                                                       \
  }
