// SPDX-License-Identifier: MIT
//
// system.cpp - see system.hpp.
#include "platform/linux/system.hpp"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace gvt::platform_linux {

namespace {
constexpr u64 kSecond = 1'000'000'000;

long futex(std::atomic<u32>& word, int operation, u32 value, const timespec* deadline) noexcept {
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, deadline, nullptr,
                 FUTEX_BITSET_MATCH_ANY);
}
}  // namespace

void System::relinquish() noexcept { sched_yield(); }

u64 System::now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * kSecond + static_cast<u64>(now.tv_nsec);
}

void System::wait(std::atomic<u32>& word, u32 expected, u64 deadline_ns) noexcept {
  const int saved_errno = errno;
  const timespec deadline = {static_cast<time_t>(deadline_ns / kSecond),
                             static_cast<long>(deadline_ns % kSecond)};
  // FUTEX_WAIT_BITSET takes an absolute deadline, so a wait that is begun again does not become
  // longer.
  if (futex(word, FUTEX_WAIT_BITSET, expected, deadline_ns == kNever ? nullptr : &deadline) != 0) {
    GVT_INVARIANT("INV-PORT-1", errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
  }
  errno = saved_errno;
}

void System::wake(std::atomic<u32>& word) noexcept {
  const int saved_errno = errno;
  // The word may be gone by now (see Scheduler::wake_joiners), so EFAULT is no bug of ours.
  futex(word, FUTEX_WAKE, 1, nullptr);
  errno = saved_errno;
}

PreciseTimers::PreciseTimers() noexcept : slack_before_ns_(prctl(PR_GET_TIMERSLACK)) {
  prctl(PR_SET_TIMERSLACK, 1UL);
}

PreciseTimers::~PreciseTimers() noexcept {
  if (slack_before_ns_ > 0) prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(slack_before_ns_));
}

}  // namespace gvt::platform_linux
