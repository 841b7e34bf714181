// SPDX-License-Identifier: MIT
//
// panic.cpp - the panic port of hosted programs: one line on stderr without allocation, then abort.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/check.hpp"

namespace gvt {

[[noreturn]] void panic(const char* invariant, const char* condition, const char* file,
                        int line) noexcept {
  char text[512];
  int n = snprintf(text, sizeof text, "gvthread: %s violated: %s (%s:%d)\n", invariant, condition,
                   file, line);
  if (n > static_cast<int>(sizeof text)) n = sizeof text;
  if (n > 0 && write(STDERR_FILENO, text, static_cast<size_t>(n)) < 0) {
    // Nothing left to tell it to.
  }
  abort();
}

}  // namespace gvt
