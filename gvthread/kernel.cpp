// SPDX-License-Identifier: MIT
//
// kernel.cpp - compiles the kernel, freestanding: ci/freestanding checks what this object needs
// from outside. The calls that green threads make often are defined here too, so that they are one
// call deep.
#include "gvthread/kernel.hpp"

#include "gvthread/calls.hpp"

template class gvt::core::Scheduler<gvt::LinuxParts>;

namespace gvt {

void yield() noexcept { Kernel::yield(); }

namespace detail {

Error park_until(u64 deadline_ns) noexcept { return Kernel::park(deadline_ns); }
Error sleep_until(u64 deadline_ns) noexcept { return Kernel::sleep_until(deadline_ns); }

Error join_until(Handle thread, u64 deadline_ns) noexcept {
  Kernel* kernel = Kernel::current_scheduler();
  return kernel == nullptr ? Error::wrong_context : kernel->join(thread, deadline_ns);
}

Reserved reserve(void* kernel) noexcept {
  auto* k = kernel != nullptr ? static_cast<Kernel*>(kernel) : Kernel::current_scheduler();
  if (k == nullptr) return {nullptr, nullptr, Error::wrong_context};
  const Result<KernelThread*> thread = k->reserve();
  if (!thread.ok()) return {nullptr, nullptr, thread.error()};
  return {k, k->callable(*thread.value()), Error::ok};
}

Handle publish(const Reserved& slot, void (*invoke)(void*) noexcept, const char* name) noexcept {
  auto* kernel = static_cast<Kernel*>(slot.kernel);
  return kernel->publish(kernel->thread_of(slot.callable), invoke, name);
}

void abandon(const Reserved& slot) noexcept {
  auto* kernel = static_cast<Kernel*>(slot.kernel);
  kernel->abandon(kernel->thread_of(slot.callable));
}

}  // namespace detail

Error unpark(Handle thread) noexcept {
  Kernel* kernel = Kernel::current_scheduler();
  return kernel == nullptr ? Error::wrong_context : kernel->unpark(thread);
}

Error cancel(Handle thread) noexcept {
  Kernel* kernel = Kernel::current_scheduler();
  return kernel == nullptr ? Error::wrong_context : kernel->cancel(thread);
}

}  // namespace gvt
