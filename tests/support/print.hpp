// SPDX-License-Identifier: MIT
//
// print.hpp - how GoogleTest shows our types.
#pragma once

#include <ostream>

#include "core/types.hpp"

namespace gvt {

inline void PrintTo(Error error, std::ostream* out) { *out << error_name(error); }
inline void PrintTo(Handle handle, std::ostream* out) {
  *out << "{" << handle.id << ", " << handle.generation << "}";
}

}  // namespace gvt
