// SPDX-License-Identifier: MIT
//
// os_thread.hpp - one OS thread, for a worker. Tests: tests/unit/os_thread_test.cpp. Source:
// pthread_create(3).
#pragma once

#include "core/types.hpp"

namespace gvt::platform_linux {

class OsThread {
 public:
  // Runs main(argument) on a new OS thread called `name` (at most 15 characters), with all signals
  // blocked but faults: they are for the program's own threads. Returns 0 or the system's error
  // number.
  int start(void (*main)(void*) noexcept, void* argument, const char* name) noexcept;
  void join() noexcept;  // after a start that succeeded

 private:
  static void* trampoline(void* self) noexcept;

  void (*main_)(void*) noexcept = nullptr;
  void* argument_ = nullptr;
  unsigned long id_ = 0;  // pthread_t
};

}  // namespace gvt::platform_linux
