// SPDX-License-Identifier: MIT
//
// kernel.hpp - the one kernel of the shipped library: core on x86-64 Linux. The place where arch
// and platform meet.
#pragma once

#include "arch/x86_64/context.hpp"
#include "arch/x86_64/current.hpp"
#include "core/scheduler.hpp"
#include "core/selected_ready_queue.hpp"
#include "platform/linux/memory.hpp"
#include "platform/linux/sanitizer.hpp"
#include "platform/linux/system.hpp"

namespace gvt {

struct LinuxPort : x86_64::Arch,
                   x86_64::CurrentInTls,
                   platform_linux::System,
                   platform_linux::Sanitizer {};

using KernelThread = core::Thread<LinuxPort>;

struct LinuxParts {
  using Port = LinuxPort;
  using Queue = core::SelectedReadyQueue<LinuxPort, KernelThread>;
  using Memory = platform_linux::Memory;
};

using Kernel = core::Scheduler<LinuxParts>;

static_assert(sizeof(platform_linux::Sanitizer::Fiber) > 1 || sizeof(KernelThread) == 64,
              "one cache line");
static_assert(sizeof(core::Cold<LinuxPort>) == 64, "one cache line");

}  // namespace gvt

extern template class gvt::core::Scheduler<gvt::LinuxParts>;
