// SPDX-License-Identifier: MIT
//
// st_bench.cpp - the workloads of bench/workloads.hpp on State Threads (libst), which has one
// worker and never more: with epoll, stacks of 64 KiB that it keeps for reuse, no guard pages. A
// yield is st_usleep(0), the library has no other. Nothing here is shared between OS threads, so
// latches are plain counters; only the observer of the idle workload is another one.
#include <st.h>

#include "bench/workloads.hpp"

namespace {

using bench::fail;
using bench::Options;
using bench::Report;
using bench::u64;

constexpr int kStackBytes = 64 * 1024;

void check(int result, const char* what) {
  if (result != 0) fail("%s: %s", what, std::strerror(errno));
}

struct StateThreads {
  static constexpr const char* kName = "st";
  static constexpr u64 kMaxWorkers = 1;

  template <class Body>
  static void run(const Options&, u64, Body body) {
    check(st_set_eventsys(ST_EVENTSYS_ALT), "st_set_eventsys");
    check(st_init(), "st_init");
    Joinable main = spawn_joinable([&body] { body(); });
    join(main);
  }

  using Joinable = st_thread_t;
  template <class F>
  static Joinable create(F f, bool joinable) {
    const auto entry = [](void* argument) -> void* {
      const std::unique_ptr<F> callable(static_cast<F*>(argument));
      (*callable)();
      return nullptr;
    };
    st_thread_t thread = st_thread_create(entry, new F(f), joinable ? 1 : 0, kStackBytes);
    if (thread == nullptr) fail("st_thread_create: %s", std::strerror(errno));
    return thread;
  }
  template <class F>
  static Joinable spawn_joinable(F f) {
    return create(f, true);
  }
  template <class F>
  static void spawn(F f) {
    (void)create(f, false);
  }
  static void join(Joinable& thread) { check(st_thread_join(thread, nullptr), "st_thread_join"); }
  static void yield() { check(st_usleep(0), "st_usleep"); }
  static void sleep_until(u64 ns) {
    const u64 now = bench::now_ns();
    check(st_usleep(now < ns ? (ns - now + 999) / 1000 : 0), "st_usleep");
  }

  class Condition {
   public:
    Condition() : condition_(st_cond_new()) {
      if (condition_ == nullptr) fail("st_cond_new: %s", std::strerror(errno));
    }
    ~Condition() { (void)st_cond_destroy(condition_); }
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;
    void wait() { check(st_cond_wait(condition_), "st_cond_wait"); }
    void wake_one() { check(st_cond_signal(condition_), "st_cond_signal"); }
    void wake_all() { check(st_cond_broadcast(condition_), "st_cond_broadcast"); }

   private:
    st_cond_t condition_;
  };

  class Signal {
   public:
    void bind() {}
    void wait() {
      while (!set_) changed_.wait();
      set_ = false;
    }
    void notify() {
      set_ = true;
      changed_.wake_one();
    }

   private:
    Condition changed_;
    bool set_ = false;
  };

  class Latch {
   public:
    explicit Latch(u64 count) : left_(count) {}
    void done() {
      if (--left_ == 0) changed_.wake_one();
    }
    void wait() {
      while (left_ != 0) changed_.wait();
    }

   private:
    u64 left_;
    Condition changed_;
  };

  class Gate {
   public:
    explicit Gate(u64) {}
    void wait(u64) {
      while (!open_) changed_.wait();
    }
    void open() {
      open_ = true;
      changed_.wake_all();
    }

   private:
    Condition changed_;
    bool open_ = false;
  };

  class Mutex {
   public:
    Mutex() : mutex_(st_mutex_new()) {
      if (mutex_ == nullptr) fail("st_mutex_new: %s", std::strerror(errno));
    }
    ~Mutex() { (void)st_mutex_destroy(mutex_); }
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;
    void lock() { check(st_mutex_lock(mutex_), "st_mutex_lock"); }
    void unlock() { check(st_mutex_unlock(mutex_), "st_mutex_unlock"); }

   private:
    st_mutex_t mutex_;
  };

  static void counters(const Report&, u64) {}
};

}  // namespace

int main(int argc, char** argv) { return bench::run_workload<StateThreads>(argc, argv); }
