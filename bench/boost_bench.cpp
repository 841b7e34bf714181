// SPDX-License-Identifier: MIT
//
// boost_bench.cpp - the workloads of bench/workloads.hpp on Boost.Fiber. --scheduler: stealing
// (default) or shared, its two schedulers for more than one OS thread; one worker takes its
// round_robin. Fibers are started with launch::post and pooled stacks of 64 KiB: Boost's own pool
// is not safe to free into from another thread, hence the one below. Without guard pages: its
// protected stacks end at vm.max_map_count, about 32 000 fibers.
#include <sys/mman.h>

#include <boost/context/detail/fcontext.hpp>
#include <boost/fiber/all.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "bench/workloads.hpp"

namespace {

using bench::fail;
using bench::Meter;
using bench::Options;
using bench::Report;
using bench::u64;
namespace fibers = boost::fibers;
namespace context = boost::context;

constexpr std::size_t kStackBytes = 64 * 1024;

// A free list of stacks, last in first out, that grows by 64 stacks at a time.
class Stacks {
 public:
  void* take() {
    const Locked locked(busy_);
    if (free_ == nullptr) grow();
    Node* top = free_;
    free_ = top->next;
    return top;
  }
  void give(void* top) {
    const Locked locked(busy_);
    free_ = new (top) Node{free_};
  }

 private:
  struct Node {  // at the top of a free stack: on the page that was used last
    Node* next;
  };
  struct Locked {
    std::atomic_flag& flag;
    explicit Locked(std::atomic_flag& f) : flag(f) {
      while (flag.test_and_set(std::memory_order_acquire)) __builtin_ia32_pause();
    }
    ~Locked() { flag.clear(std::memory_order_release); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
  };

  void grow() {
    constexpr std::size_t kCount = 64;
    void* memory = mmap(nullptr, kStackBytes * kCount, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    for (std::size_t i = kCount; i > 0; --i) {
      free_ = new (static_cast<char*>(memory) + i * kStackBytes - kTopBytes) Node{free_};
    }
  }

 public:
  static constexpr std::size_t kTopBytes = 64;

 private:
  std::atomic_flag busy_;
  Node* free_ = nullptr;
};
Stacks stacks;

struct PooledStack {
  context::stack_context allocate() {
    context::stack_context s;
    s.size = kStackBytes;
    s.sp = static_cast<char*>(stacks.take()) + Stacks::kTopBytes;
    return s;
  }
  void deallocate(context::stack_context& s) noexcept {
    stacks.give(static_cast<char*>(s.sp) - Stacks::kTopBytes);
  }
};

struct BoostFiber {
  static inline const char* kName = "boost";
  static constexpr u64 kMaxWorkers = 56;

  // A Boost worker that sleeps is woken by nothing but its own timers and wakes from other threads;
  // that there is something to steal is neither. So where there is work for more than
  // one its idle workers spin, or one worker would do all; where there is not they sleep.
  static bool suspends(const Options& o) {
    for (const auto* w : {"storm", "idle", "lateness", "pingpong", "spawn-join"}) {
      if (o.workload == w) return true;
    }
    return false;
  }

  static void use_scheduler(const Options& o) {
    if (o.workers == 1) return;  // round_robin
    if (o.scheduler.empty() || o.scheduler == "stealing") {
      fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(
          static_cast<std::uint32_t>(o.workers), suspends(o));
    } else {
      fibers::use_scheduling_algorithm<fibers::algo::shared_work>(suspends(o));
    }
  }

  template <class Body>
  static void run(const Options& o, u64, Body body) {
    // As in Boost's own examples: the other threads' main fibers wait until all is done, and
    // meanwhile their schedulers look for fibers to run.
    fibers::mutex mutex;
    fibers::condition_variable_any done;
    bool ended = false;
    std::vector<std::thread> others;
    for (u64 i = 1; i < o.workers; ++i) {
      others.emplace_back([&] {
        use_scheduler(o);
        std::unique_lock lock(mutex);
        done.wait(lock, [&] { return ended; });
      });
    }
    use_scheduler(o);
    fibers::fiber main(fibers::launch::post, std::allocator_arg, PooledStack{},
                       [&body] { guarded(body); });
    main.join();
    {
      const std::unique_lock lock(mutex);
      ended = true;
    }
    done.notify_all();
    for (auto& t : others) t.join();
  }

  // What a fiber throws would end the program without a word.
  template <class F>
  static void guarded(F& f) {
    try {
      f();
    } catch (const std::exception& e) {
      fail("%s", e.what());
    }
  }

  using Joinable = fibers::fiber;
  template <class F>
  static Joinable spawn_joinable(F f) {
    return fibers::fiber(fibers::launch::post, std::allocator_arg, PooledStack{}, f);
  }
  template <class F>
  static void spawn(F f) {
    spawn_joinable(f).detach();
  }
  static void join(Joinable& fiber) { fiber.join(); }
  static void yield() { boost::this_fiber::yield(); }
  static void sleep_until(u64 ns) {
    boost::this_fiber::sleep_until(
        std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns)));
  }

  class Signal {
   public:
    void bind() {}
    void wait() {
      std::unique_lock lock(mutex_);
      while (!set_) changed_.wait(lock);
      set_ = false;
    }
    void notify() {
      {
        const std::unique_lock lock(mutex_);
        set_ = true;
      }
      changed_.notify_one();
    }

   private:
    fibers::mutex mutex_;
    fibers::condition_variable changed_;
    bool set_ = false;
  };

  // The last one sets the signal with the lock held: the waiter may destroy it at once afterwards.
  class Latch {
   public:
    explicit Latch(u64 count) : left_(count) {}
    void done() {
      if (left_.fetch_sub(1) != 1) return;
      const std::unique_lock lock(mutex_);
      open_ = true;
      changed_.notify_one();
    }
    void wait() {
      std::unique_lock lock(mutex_);
      while (!open_) changed_.wait(lock);
    }

   private:
    std::atomic<u64> left_;
    fibers::mutex mutex_;
    fibers::condition_variable changed_;
    bool open_ = false;
  };

  class Gate {
   public:
    explicit Gate(u64) {}
    void wait(u64) {
      std::unique_lock lock(mutex_);
      while (!open_) changed_.wait(lock);
    }
    void open() {
      {
        const std::unique_lock lock(mutex_);
        open_ = true;
      }
      changed_.notify_all();
    }

   private:
    fibers::mutex mutex_;
    fibers::condition_variable changed_;
    bool open_ = false;
  };

  using Mutex = fibers::mutex;

  static void raw_switch(Meter& meter, u64 switches) {
    using namespace context::detail;
    alignas(16) static char stack[kStackBytes];
    transfer_t other{make_fcontext(stack + kStackBytes, kStackBytes,
                                   [](transfer_t from) {
                                     for (;;) from = jump_fcontext(from.fctx, nullptr);
                                   }),
                     nullptr};
    other = jump_fcontext(other.fctx, nullptr);
    meter.start();
    for (u64 i = 0; i < switches / 2; ++i) other = jump_fcontext(other.fctx, nullptr);
    meter.stop();
  }

  static void counters(const Report&, u64) {}
};

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == std::string_view("shared")) BoostFiber::kName = "boost-shared";
  }
  try {
    return bench::run_workload<BoostFiber>(argc, argv);
  } catch (const std::exception& e) {
    fail("%s", e.what());
  }
}
