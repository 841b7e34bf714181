// SPDX-License-Identifier: MIT
//
// coroutine.hpp - the bare context switch without a scheduler: one context that an OS thread
// resumes until it suspends itself.
#pragma once

#include <memory>

#include "gvthread/kernel.hpp"

namespace gvt::test {

class Coroutine {
 public:
  using Main = void (*)(Coroutine& self);

  explicit Coroutine(Main main, void* user = nullptr, usize stack_bytes = 256 * 1024,
                     usize colour = 0)
      : stack_(new Block[stack_bytes / sizeof(Block)]), main_(main), user_(user) {
    auto* bottom = reinterpret_cast<std::byte*>(stack_.get());
    top_ = bottom + stack_bytes;
    LinuxPort::make_context(inside_, top_ - colour, &Coroutine::start);
    LinuxPort::fiber_create(inside_fiber_, bottom, stack_bytes);
  }
  ~Coroutine() { LinuxPort::fiber_destroy(inside_fiber_); }
  Coroutine(const Coroutine&) = delete;
  Coroutine& operator=(const Coroutine&) = delete;

  // Runs main until it suspends or returns. Any OS thread, one at a time.
  GVT_SWITCHES void resume() noexcept {
    outside_fiber_ = {};  // perhaps another OS thread than last time
    LinuxPort::fiber_adopt(outside_fiber_);
    LinuxPort::fiber_leave(outside_fiber_, inside_fiber_, false);
    LinuxPort::switch_context(outside_, inside_, this);
    LinuxPort::fiber_enter(outside_fiber_);
  }

  // On the coroutine.
  GVT_SWITCHES void suspend() noexcept {
    LinuxPort::fiber_leave(inside_fiber_, outside_fiber_, false);
    LinuxPort::switch_context(inside_, outside_, this);
    LinuxPort::fiber_enter(inside_fiber_);
  }

  bool done() const noexcept { return done_; }
  void* user() const noexcept { return user_; }
  std::byte* top() const noexcept { return top_; }
  LinuxPort::Context& saved() noexcept { return inside_; }

 private:
  struct alignas(64) Block {
    std::byte bytes[64];
  };

  static void start(void* argument) noexcept {
    auto* self = static_cast<Coroutine*>(argument);
    LinuxPort::fiber_enter(self->inside_fiber_);
    self->main_(*self);
    self->done_ = true;
    for (;;) self->suspend();
  }

  std::unique_ptr<Block[]> stack_;
  std::byte* top_ = nullptr;
  Main main_;
  void* user_;
  bool done_ = false;
  LinuxPort::Context inside_;
  LinuxPort::Context outside_;
  [[no_unique_address]] LinuxPort::Fiber inside_fiber_;
  [[no_unique_address]] LinuxPort::Fiber outside_fiber_;
};

}  // namespace gvt::test
