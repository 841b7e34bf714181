// SPDX-License-Identifier: MIT
//
// hello.cpp - two green threads that sleep side by side, and a third that waits for both.
#include <gvthread/gvthread.hpp>

#include <cstdio>

int main() {
  using namespace std::chrono_literals;
  gvt::Runtime runtime;
  if (const gvt::Status status = runtime.start(); !status.ok()) return status.print(), 2;

  const auto spawned = runtime.spawn([] {
    const auto greet = [](const char* word, std::chrono::milliseconds after) {
      return [word, after] {
        if (gvt::sleep_for(after) == gvt::Error::ok) std::printf("%s ", word);
      };
    };
    const auto world = gvt::spawn(greet("world", 20ms));
    const auto hello = gvt::spawn(greet("hello", 10ms));
    if (!hello.ok() || !world.ok()) return;
    if (gvt::join(hello.value()) == gvt::Error::ok && gvt::join(world.value()) == gvt::Error::ok)
      std::puts("");
  });
  if (!spawned.ok())
    return std::fprintf(stderr, "spawn: %s\n", gvt::error_name(spawned.error())), 1;
  return runtime.run() == gvt::Error::ok ? 0 : 1;
}
