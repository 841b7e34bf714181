// SPDX-License-Identifier: MIT
//
// os_thread.cpp - see os_thread.hpp.
#include "platform/linux/os_thread.hpp"

#include <pthread.h>
#include <signal.h>

namespace gvt::platform_linux {

static_assert(sizeof(pthread_t) == sizeof(unsigned long));

void* OsThread::trampoline(void* self) noexcept {
  auto* thread = static_cast<OsThread*>(self);
  thread->main_(thread->argument_);
  return nullptr;
}

int OsThread::start(void (*main)(void*) noexcept, void* argument, const char* name) noexcept {
  main_ = main;
  argument_ = argument;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // A fault of the thread's own finds its handler; blocked, it would end the program without one.
  constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  for (const int fault : kFaults) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t id;
  const int error = pthread_create(&id, nullptr, &trampoline, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return error;
  pthread_setname_np(id, name);
  id_ = id;
  return 0;
}

void OsThread::join() noexcept { pthread_join(id_, nullptr); }

}  // namespace gvt::platform_linux
