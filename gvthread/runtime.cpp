// SPDX-License-Identifier: MIT
//
// runtime.cpp - the hosted API over the kernel: start, run, shutdown, and the calls of green
// threads.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gvthread/gvthread.hpp"
#include "gvthread/kernel.hpp"
#include "platform/linux/os_thread.hpp"

namespace gvt {

static_assert(kMaxCallableBytes == core::kInlineCallableBytes);

// Lies at the start of the runtime's own reservation.
struct Runtime::State {
  struct Helper {
    Kernel* kernel = nullptr;
    u32 index = 0;
    platform_linux::OsThread thread;
  };

  platform_linux::Memory memory;
  Kernel kernel;
  u32 helpers_started = 0;
  Helper helpers[kMaxWorkers];
};

namespace {

constexpr u64 kStateBytes = (sizeof(Runtime::State) + 63) & ~u64{63};

void helper_main(void* argument) noexcept {
  auto* helper = static_cast<Runtime::State::Helper*>(argument);
  platform_linux::PreciseTimers precise;
  (void)helper->kernel->run_worker(helper->index, false);
}

// Which field asks for guards that the kernel does not make.
ConfigError refused_guards(const Config& config, u64 limit) noexcept {
  if (config.guards == GuardMode::madvise) {
    return {"guards", static_cast<u64>(config.guards), 0, static_cast<u64>(GuardMode::none),
            "automatic, mprotect, none"};
  }
  return {"max_threads", config.max_threads, 1, limit, nullptr};
}

u32 first_helper(const Config& config) noexcept { return config.caller_is_worker ? 1 : 0; }

void end_helpers(Runtime::State& state) noexcept {
  state.kernel.quit();
  for (u32 i = 0; i < state.helpers_started; ++i) state.helpers[i].thread.join();
  state.helpers_started = 0;
}

void release(Runtime::State* state) noexcept {
  platform_linux::Memory memory = std::move(state->memory);
  state->~State();
  memory.unmap();
}

}  // namespace

Status Runtime::start(const Config& config) noexcept {
  if (state_ != nullptr) return {.error = Error::already_started};
  if (const ConfigError bad = check_config(config); !bad.ok())
    return {.error = Error::bad_config, .field = bad};
  platform_linux::Memory memory;
  const platform_linux::MapError map =
      memory.map(config, kStateBytes + Kernel::required_bytes(config));
  if (map.error != Error::ok)
    return {
        .error = map.error,
        .field = map.error == Error::map_limit ? refused_guards(config, map.limit) : ConfigError{},
        .os_errno = map.os_errno,
        .limit = map.limit};
  auto* state = new (memory.kernel_memory()) State;
  state->memory = std::move(memory);
  state->kernel.init(config, state->memory.kernel_memory() + kStateBytes, &state->memory);
  for (u32 index = first_helper(config); index < config.workers; ++index) {
    State::Helper& helper = state->helpers[state->helpers_started];
    helper.kernel = &state->kernel;
    helper.index = index;
    char name[16];
    std::snprintf(name, sizeof name, "gvt-worker-%u", index % 100u);
    if (const int refused = helper.thread.start(&helper_main, &helper, name); refused != 0) {
      end_helpers(*state);
      release(state);
      return {.error = Error::thread_start, .os_errno = refused};
    }
    ++state->helpers_started;
  }
  state_ = state;
  kernel_ = &state->kernel;
  return {};
}

Error Runtime::run() noexcept {
  if (state_ == nullptr) return Error::not_started;
  if (!state_->kernel.config().caller_is_worker) return state_->kernel.wait_drained();
  if (LinuxPort::current() != nullptr) return Error::wrong_context;
  platform_linux::PreciseTimers precise;
  return state_->kernel.run_worker(0, true);
}

Error Runtime::stop() noexcept {
  if (state_ == nullptr) return Error::not_started;
  state_->kernel.stop();
  return Error::ok;
}

Error Runtime::shutdown() noexcept {
  if (state_ == nullptr) return Error::not_started;
  if (LinuxPort::current() != nullptr) return Error::wrong_context;
  state_->kernel.stop();
  // Another OS thread may be in run(), as worker 0 or waiting. Once all threads have ended it is on
  // its way out, and the memory must stay until it has left.
  while (run() == Error::already_started) {
    (void)state_->kernel.wait_drained();
    LinuxPort::relinquish();
  }
  while (state_->kernel.has_guests()) LinuxPort::relinquish();
  end_helpers(*state_);
  release(state_);
  state_ = nullptr;
  kernel_ = nullptr;
  return Error::ok;
}

Runtime::~Runtime() noexcept {
  if (state_ == nullptr) return;
  GVT_INVARIANT("INV-RUN-1", LinuxPort::current() == nullptr);
  (void)shutdown();
}

Error Runtime::unpark(Handle thread) noexcept {
  return state_ == nullptr ? Error::not_started : state_->kernel.unpark(thread);
}

Error Runtime::cancel(Handle thread) noexcept {
  return state_ == nullptr ? Error::not_started : state_->kernel.cancel(thread);
}

Error Runtime::join(Handle thread, Deadline deadline) noexcept {
  return state_ == nullptr ? Error::not_started : state_->kernel.join(thread, deadline.ns());
}

Stats Runtime::stats() const noexcept {
  if (state_ == nullptr) return {};
  const auto count = [this](core::Count kind) { return state_->kernel.count(kind); };
  using enum core::Count;
  return {count(spawned), count(started),  count(ended),  count(yields), count(switches),
          count(parks),   count(timeouts), count(steals), count(sleeps), count(wakeups)};
}

GuardMode Runtime::guards() const noexcept {
  return state_ == nullptr ? GuardMode::none : state_->memory.guards();
}

const Config& Runtime::config() const noexcept {
  static constexpr Config kNotStarted;
  return state_ == nullptr ? kNotStarted : state_->kernel.config();
}

// ---- green threads ----

u64 now_ns() noexcept { return LinuxPort::now_ns(); }

namespace this_thread {

Handle id() noexcept {
  const KernelThread* thread = Kernel::current_thread();
  return thread == nullptr ? Handle{} : thread->handle();
}

const char* name() noexcept {
  const KernelThread* thread = Kernel::current_thread();
  return thread == nullptr ? "" : Kernel::current_scheduler()->name(*thread);
}

void set_name(const char* name) noexcept {
  KernelThread* thread = Kernel::current_thread();
  if (thread != nullptr)
    Kernel::current_scheduler()->set_name(*thread, name == nullptr ? "" : name);
}

bool cancelled() noexcept {
  const KernelThread* thread = Kernel::current_thread();
  return thread != nullptr && Kernel::current_scheduler()->cancelled(*thread);
}

}  // namespace this_thread

// ---- texts ----

const char* guard_mode_name(GuardMode mode) noexcept {
  switch (mode) {
    case GuardMode::automatic: return "automatic";
    case GuardMode::madvise: return "madvise";
    case GuardMode::mprotect: return "mprotect";
    case GuardMode::none: return "none";
  }
  return "unknown";
}

const char* queue_kind_name(QueueKind kind) noexcept {
  switch (kind) {
    case QueueKind::simple: return "simple";
    case QueueKind::lock_free: return "lock_free";
  }
  return "unknown";
}

std::size_t Status::message(char* buffer, std::size_t size, const char* source) const noexcept {
  int n = 0;
  if (error == Error::bad_config) {
    n = std::snprintf(buffer, size, "gvthread: %s: %s = %llu is out of range: %llu to %llu%s%s",
                      source, field.field, static_cast<unsigned long long>(field.value),
                      static_cast<unsigned long long>(field.min),
                      static_cast<unsigned long long>(field.max), field.rule != nullptr ? ", " : "",
                      field.rule != nullptr ? field.rule : "");
  } else if (error == Error::map_limit && field.rule != nullptr) {
    n = std::snprintf(buffer, size,
                      "gvthread: %s: %s = madvise: this kernel has no MADV_GUARD_INSTALL (6.13); "
                      "allowed: %s",
                      source, field.field, field.rule);
  } else if (error == Error::map_limit && field.field != nullptr) {
    n = std::snprintf(
        buffer, size,
        "gvthread: %s: %s = %llu is more guard pages than the kernel maps: %llu to %llu here "
        "(vm.max_map_count); raise it, or use a kernel with MADV_GUARD_INSTALL (6.13)",
        source, field.field, static_cast<unsigned long long>(field.value),
        static_cast<unsigned long long>(field.min), static_cast<unsigned long long>(field.max));
  } else if (os_errno != 0) {
    n = std::snprintf(buffer, size, "gvthread: %s: %s: %s", source, error_name(error),
                      std::strerror(os_errno));
  } else {
    n = std::snprintf(buffer, size, "gvthread: %s: %s", source, error_name(error));
  }
  if (n < 0 || size == 0) return 0;
  return static_cast<std::size_t>(n) < size ? static_cast<std::size_t>(n) : size - 1;
}

void Status::print(const char* source) const noexcept {
  char line[320];
  message(line, sizeof line, source);
  std::fprintf(stderr, "%s\n", line);
}

}  // namespace gvt
