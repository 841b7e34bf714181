// SPDX-License-Identifier: MIT
//
// types.cpp - names of the error codes.
#include "core/types.hpp"

namespace gvt {

const char* error_name(Error error) noexcept {
  switch (error) {
    case Error::ok: return "ok";
    case Error::no_slot: return "no_slot";
    case Error::stale: return "stale";
    case Error::timed_out: return "timed_out";
    case Error::cancelled: return "cancelled";
    case Error::stopped: return "stopped";
    case Error::deadlock: return "deadlock";
    case Error::wrong_context: return "wrong_context";
    case Error::bad_config: return "bad_config";
    case Error::no_memory: return "no_memory";
    case Error::map_limit: return "map_limit";
    case Error::thread_start: return "thread_start";
    case Error::not_started: return "not_started";
    case Error::already_started: return "already_started";
  }
  return "unknown";
}

}  // namespace gvt
