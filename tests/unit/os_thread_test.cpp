// SPDX-License-Identifier: MIT
//
// os_thread_test.cpp - platform/linux/os_thread.hpp: start, name, signals, join.
#include "platform/linux/os_thread.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstring>

#include "tests/support/proc.hpp"

namespace gvt::platform_linux {
namespace {

struct Seen {
  std::atomic<u32> tid{0};
  std::atomic<bool> go_on{false};
  char name[16] = {};
  bool usr1_blocked = false;
  bool faults_blocked = true;
};

void observe(void* argument) noexcept {
  auto* seen = static_cast<Seen*>(argument);
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  seen->usr1_blocked = sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGINT) == 1;
  seen->faults_blocked = false;
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS})
    seen->faults_blocked = seen->faults_blocked || sigismember(&blocked, fault) == 1;
  while (!seen->go_on.load()) {
  }
  pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
  seen->tid.store(test::own_tid());
}

TEST(OsThread, RunsMainOnAnotherOsThreadWithItsNameAndNoSignalsButFaults) {
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  Seen seen;
  OsThread thread;
  ASSERT_EQ(thread.start(&observe, &seen, "gvt-test"), 0);
  seen.go_on = true;  // the name is set after the start
  thread.join();
  EXPECT_NE(seen.tid.load(), 0u);
  EXPECT_NE(seen.tid.load(), test::own_tid());
  EXPECT_STREQ(seen.name, "gvt-test");
  EXPECT_TRUE(seen.usr1_blocked);
  EXPECT_FALSE(seen.faults_blocked);
  sigset_t after;
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  for (int s = 1; s < 32; ++s) EXPECT_EQ(sigismember(&before, s), sigismember(&after, s)) << s;
}

TEST(OsThread, ManyOneAfterTheOther) {
  for (int i = 0; i < 20; ++i) {
    Seen seen;
    seen.go_on = true;
    OsThread thread;
    ASSERT_EQ(thread.start(&observe, &seen, "gvt-test"), 0);
    thread.join();
    EXPECT_NE(seen.tid.load(), 0u);
  }
}

}  // namespace
}  // namespace gvt::platform_linux
