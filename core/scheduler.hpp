// SPDX-License-Identifier: MIT
//
// scheduler.hpp - the kernel: it ties control blocks, stacks, ready queues, timers and idle workers
// together. A thread that gives up its CPU picks its successor on its own stack and switches
// straight to it. What may happen only when the old stack is quiet (requeue it, complete its park,
// free it) is left in Worker::post and done by whoever runs next. A worker's own OS stack is its
// idle context, entered only when nothing is ready. Invariants: INV-CTX-1, INV-CTX-2, INV-PARK-1,
// INV-WAKE-1, INV-IDLE-1, INV-IDLE-3, INV-LIVE-1, INV-SLOT-1, INV-STACK-1, INV-DRAIN-1. Memory
// orders: docs/memory-order.md. Tests: tests/unit/scheduler_test.cpp, tests/stress/.
#pragma once

#include "core/config.hpp"
#include "core/idle_set.hpp"
#include "core/join.hpp"
#include "core/ready_queue.hpp"
#include "core/slot_pool.hpp"
#include "core/timers.hpp"
#include "core/worker.hpp"

namespace gvt::core {

template <class Parts>
class Auditor;

// Parts names what the kernel is put together from: types Port, Queue and Memory.
template <class Parts>
class Scheduler {
 public:
  using P = typename Parts::Port;
  using Queue = typename Parts::Queue;
  using Memory = typename Parts::Memory;
  using Green = Thread<P>;
  using Pool = SlotPool<P>;
  using Worker = core::Worker<P, Scheduler>;
  static_assert(Port<P> && ReadyQueue<Queue, Green> && StackMemory<Memory>);

  // Bytes of kernel memory (stacks apart) for this configuration; 64-byte aligned.
  static constexpr u64 required_bytes(const Config& c) noexcept { return layout(c).total; }

  // memory: required_bytes(config) zero bytes. The configuration has been checked. Nothing is
  // allocated from here on.
  void init(const Config& config, std::byte* memory, Memory* stacks) noexcept {
    GVT_ASSERT(check_config(config).ok());
    const Layout l = layout(config);
    config_ = config;
    stacks_ = stacks;
    workers_ = reinterpret_cast<Worker*>(memory + l.workers);
    // Control blocks are built when their slot is first used, not here: a million would be 128 MB
    // of page faults.
    threads_ = reinterpret_cast<Green*>(memory + l.threads);
    colds_ = reinterpret_cast<Cold<P>*>(memory + l.colds);
    names_ = reinterpret_cast<char(*)[kNameBytes]>(memory + l.names);
    thread_pool_.init(memory + l.thread_pool, config.workers, config.max_threads,
                      config.max_threads);
    stack_pool_.init(memory + l.stack_pool, config.workers, config.max_threads, config.warm_stacks);
    timers_.init(memory + l.timers, threads_, config.workers, config.max_threads);
    queue_.init(memory + l.queue, config.workers, config.max_threads, config.queue);
    for (u32 w = 0; w < config.workers; ++w) {
      new (&workers_[w]) Worker{};
      workers_[w].scheduler = this;
      workers_[w].index = w;
    }
  }

  // Runs worker `index` on the calling OS thread: until every thread has ended (`until_drained`),
  // or until quit(). Nobody else may run that worker. Errors: wrong_context on a green thread or a
  // worker.
  Error run_worker(u32 index, bool until_drained) noexcept {
    if (P::current() != nullptr) return Error::wrong_context;
    Worker& w = workers_[index];
    u32 nobody = kNobody;
    // ORD-RUN-1: acquires what the runner before has left; pairs with the release at its end.
    if (until_drained && !runner_.compare_exchange_strong(nobody, index, std::memory_order_acq_rel,
                                                          std::memory_order_relaxed)) {
      return Error::already_started;
    }
    P::set_current(&w);
    P::fiber_adopt(w.idle_fiber);
    for (bool done = false; !done;) {
      if (Green* thread = find_work(w)) {
        run(w, *thread);
      } else {
        done = idle(w, until_drained);
      }
    }
    P::set_current(nullptr);
    if (until_drained) runner_.store(kNobody, std::memory_order_release);  // ORD-RUN-1
    return Error::ok;
  }

  // Blocks the calling OS thread, no worker of ours, until every thread has ended.
  Error wait_drained() noexcept {
    if (P::current() != nullptr) return Error::wrong_context;
    drain_waiters_.fetch_add(1, std::memory_order_seq_cst);
    for (;;) {
      const u32 epoch = drain_epoch_.load(std::memory_order_acquire);
      // ORD-DRAIN-2: a read-modify-write of the idle word, as the worker's announcement is. If this
      // one comes first, the worker sees the waiter; else the ends that the worker has counted are
      // seen here.
      idle_.synchronise();
      if (all_ended()) break;
      P::wait(drain_epoch_, epoch, kNever);
    }
    P::wake(drain_epoch_);  // the next waiter, if there are several
    drain_waiters_.fetch_sub(1, std::memory_order_release);  // ORD-DRAIN-3
    return Error::ok;
  }

  // For the end of a drained kernel. False when nobody is still on the way out of wait_drained(),
  // or of the push that made a thread ready from outside: another runtime's worker that ends a join
  // of ours has woken nobody yet when the thread may have run and ended already.
  bool has_guests() const noexcept {
    return drain_waiters_.load(std::memory_order_acquire) != 0 ||  // ORD-DRAIN-3
           guests_.load(std::memory_order_acquire) != 0;
  }

  // Lets all workers that run until quit return as soon as they are idle.
  void quit() noexcept {
    quitting_.store(1, std::memory_order_release);
    // ORD-QUIT-1: a worker that announces itself later sees the flag, an earlier one is found idle.
    idle_.synchronise();
    for (u32 w = 0; w < config_.workers; ++w) {
      if (idle_.claim(w)) signal(workers_[w]);
    }
  }

  // No new threads; every wait, present and later, ends with `cancelled`. Any OS thread, any number
  // of times.
  // ORD-STOP-1. The interleaving that breaks "mark all threads, then set the flag": a thread
  // spawned after its slot was visited waits for ever. Here the flag is set first; a thread that is
  // not yet waiting when its word is visited reads the flag after its own step to Parking, and one
  // of the two sees the other.
  void stop() noexcept {
    stopping_.exchange(1, std::memory_order_seq_cst);
    const u32 used = thread_pool_.used();
    for (u32 id = 0; id < used; ++id) {
      Green& thread = threads_[id];
      const ParkWord word{thread.word.load(std::memory_order_seq_cst)};  // ORD-STOP-1
      if (word.phase() != Phase::free)
        (void)cancel({id, word.generation()});  // stale: it has just ended
    }
  }

  // Spawn in three steps, so that the callable is built in place: reserve, construct into
  // callable(), publish or abandon. Any OS thread. Errors: no_slot, map_limit, stopped. Cost: O(1),
  // no system call unless a worker must be woken.
  Result<Green*> reserve() noexcept {
    // Relaxed: a spawn that just misses the flag is met by its threads' waits, see stop().
    if (stopping_.load(std::memory_order_relaxed) != 0) return Error::stopped;
    const Worker* w = own_worker();
    const u32 shard = w != nullptr ? w->index : Pool::kNone;
    bool refused = false;
    const u32 id = thread_pool_.acquire(shard, [&](u32 first, u32 count) noexcept {
      const u32 admitted = stacks_->admit(first, count);
      refused = admitted == 0;
      for (u32 i = first; i < first + admitted; ++i) {
        new (&threads_[i]) Green{};
        threads_[i].id = i;
        new (&colds_[i]) Cold<P>;
      }
      return admitted;
    });
    if (id == Pool::kNone) return refused ? Error::map_limit : Error::no_slot;
    return &threads_[id];
  }
  void* callable(const Green& thread) noexcept { return colds_[thread.id].callable; }
  Green& thread_of(const void* callable) noexcept {
    return threads_[static_cast<const Cold<P>*>(callable) - colds_];
  }
  Handle publish(Green& thread, void (*invoke)(void*) noexcept, const char* name) noexcept {
    colds_[thread.id].invoke = invoke;
    thread.named = false;
    if (name != nullptr) set_name(thread, name);
    // Relaxed: only an older life's handle can meet the word here, and that finds it Free or of
    // another generation.
    const ParkWord word = step_spawn({thread.word.load(std::memory_order_relaxed)}).next;
    thread.word.store(word.raw, std::memory_order_release);  // ORD-WORD-1
    Worker* w = own_worker();
    if (w != nullptr) {
      w->bump_release(Count::spawned);
    } else {
      spawned_outside_.fetch_add(1, std::memory_order_release);  // ORD-DRAIN-1
    }
    const Handle handle{thread.id, word.generation()};
    push_ready(w, thread);
    return handle;
  }
  void abandon(Green& thread) noexcept {
    const Worker* w = own_worker();
    thread_pool_.release(w != nullptr ? w->index : Pool::kNone, thread.id);
  }

  // Any OS thread. Errors: stale.
  Error unpark(Handle handle) noexcept { return end_from_outside(handle, step_unpark); }
  Error cancel(Handle handle) noexcept { return end_from_outside(handle, step_cancel); }

  // Waits until the thread has ended; ok also when it had before. Any thread, green or OS.
  // Errors: timed_out, cancelled, stale (never issued), deadlock (itself).
  GVT_SWITCHES Error join(Handle handle, u64 deadline_ns) noexcept {
    if (!handle || handle.id >= config_.max_threads) return Error::stale;
    Green& target = threads_[handle.id];
    const ParkWord seen{target.word.load(std::memory_order_acquire)};
    if (!seen.alive(handle.generation)) {
      // Ended, if that life lies before the word's; the difference wraps as the generation does.
      return static_cast<std::int32_t>(seen.generation() - handle.generation) > 0 ? Error::ok
                                                                                  : Error::stale;
    }
    Green* self = current_thread();
    if (self == nullptr) return join_from_outside(target, handle.generation, deadline_ns);
    if (self == &target) return Error::deadlock;
    Joiner<P> joiner;
    joiner.thread = self;
    joiner.home = current_scheduler();
    bool registered = false;
    const Ended ended = wait(WaitKind::object, deadline_ns, [&](Green&) noexcept {
      return registered = add_joiner(target, colds_[target.id], handle.generation, joiner);
    });
    if (!registered) {
      // Either the target has ended meanwhile, or the wait was refused by a cancel.
      const ParkWord now{target.word.load(std::memory_order_acquire)};
      return now.alive(handle.generation) ? error_of(ended) : Error::ok;
    }
    if (ended == Ended::wake) return Error::ok;
    if (remove_joiner(target, colds_[target.id], joiner)) return error_of(ended);
    // The exit was faster: its wake is on its way, and must be met here, not in some later wait.
    // [INV-WAIT-1]
    wait(WaitKind::uncancelled, kNever, [](Green&) noexcept { return true; });
    return Error::ok;
  }

  // The calling green thread; outside of one they return wrong_context (yield gives up the OS
  // thread's CPU).
  static GVT_SWITCHES void yield() noexcept {
    Worker* w = current_worker();
    if (w == nullptr || w->current == nullptr) return P::relinquish();
    w->bump(Count::yields);
    if (Green* next = w->scheduler->pick(*w)) leave(*w, *w->current, next, Post::requeue);
  }
  static GVT_SWITCHES Error park(u64 deadline_ns) noexcept {
    if (current_thread() == nullptr) return Error::wrong_context;
    return error_of(wait(WaitKind::park, deadline_ns, [](Green&) noexcept { return true; }));
  }
  static GVT_SWITCHES Error sleep_until(u64 deadline_ns) noexcept {
    if (current_thread() == nullptr) return Error::wrong_context;
    const Ended ended = wait(WaitKind::object, deadline_ns, [](Green&) noexcept { return true; });
    return ended == Ended::timeout ? Error::ok : error_of(ended);
  }
  static Green* current_thread() noexcept {
    Worker* w = current_worker();
    return w != nullptr ? w->current : nullptr;
  }
  static Scheduler* current_scheduler() noexcept {
    Worker* w = current_worker();
    return w != nullptr ? w->scheduler : nullptr;
  }

  bool cancelled(const Green& thread) const noexcept {
    // Relaxed: a notice; what the canceller wrote before is seen where a wait ends.
    return ParkWord{thread.word.load(std::memory_order_relaxed)}.has(ParkWord::kCancelled) ||
           stopping_.load(std::memory_order_relaxed) != 0;
  }
  void set_name(Green& thread, const char* name) noexcept {
    usize i = 0;
    for (; i + 1 < kNameBytes && name[i] != 0; ++i) names_[thread.id][i] = name[i];
    names_[thread.id][i] = 0;
    thread.named = i != 0;
  }
  const char* name(const Green& thread) const noexcept {
    return thread.named ? names_[thread.id] : "";
  }

  // ORD-DRAIN-1. Ended threads are counted first, spawned ones second, and a thread's spawns are
  // counted before its own end: if the sums agree, all that was spawned until the first look had
  // ended by then. [INV-DRAIN-1] Source: the two-phase count of Mattern, Distributed Computing 2,
  // 1987.
  bool all_ended() const noexcept {
    const auto sum = [this](Count kind) {
      u64 total = 0;
      for (u32 w = 0; w < config_.workers; ++w) {
        total += workers_[w].count(kind, std::memory_order_acquire);
      }
      return total;
    };
    const u64 ended = sum(Count::ended);
    return ended == sum(Count::spawned) + spawned_outside_.load(std::memory_order_acquire);
  }
  u64 count(Count kind) const noexcept {
    u64 total = kind == Count::spawned ? spawned_outside_.load(std::memory_order_relaxed) : 0;
    for (u32 w = 0; w < config_.workers; ++w) {
      total += workers_[w].count(kind, std::memory_order_relaxed);  // a statistic
    }
    return total;
  }
  const Config& config() const noexcept { return config_; }

 private:
  friend class Auditor<Parts>;

  static constexpr u32 kNobody = IdleSet<P>::kNobody;

  // Initial stack pointers differ by multiples of 64 bytes: else the tops of all stacks share cache
  // sets.
  static constexpr u32 kColours = 32;

  struct Layout {
    u64 workers, threads, colds, names, thread_pool, stack_pool, timers, queue, total;
  };
  static constexpr Layout layout(const Config& c) noexcept {
    u64 at = 0;
    const auto take = [&at](u64 bytes) {
      const u64 start = at;
      at += (bytes + 63) & ~u64{63};
      return start;
    };
    Layout l{};
    l.workers = take(u64{c.workers} * sizeof(Worker));
    l.threads = take(u64{c.max_threads} * sizeof(Green));
    l.colds = take(u64{c.max_threads} * sizeof(Cold<P>));
    l.names = take(u64{c.max_threads} * kNameBytes);
    l.thread_pool = take(Pool::required_bytes(c.workers, c.max_threads));
    l.stack_pool = take(Pool::required_bytes(c.workers, c.max_threads));
    l.timers = take(Timers<P>::required_bytes(c.workers, c.max_threads));
    l.queue = take(Queue::required_bytes(c.workers, c.max_threads));
    l.total = at;
    return l;
  }

  static Worker* current_worker() noexcept { return static_cast<Worker*>(P::current()); }
  // Null also on a worker of another runtime.
  Worker* own_worker() const noexcept {
    Worker* w = current_worker();
    return w != nullptr && w->scheduler == this ? w : nullptr;
  }
  // The next ready thread of this worker, or null.
  [[gnu::always_inline]] inline Green* pick(Worker& w) noexcept {
    if (--w.until_timers == 0) [[unlikely]]
      expire_timers(w);
    return queue_.pop(w.index);
  }
  [[gnu::noinline]] void bind_stack(Worker& w, Green& thread) noexcept {
    u32 slot = Pool::kNone;
    // There are as many stacks as control blocks: one is free, or loses its pages just now.
    while ((slot = stack_pool_.acquire(w.index, [&](u32 first, u32 count) noexcept {
             return stacks_->prepare(first, count);
           })) == Pool::kNone) {
      P::relinquish();
    }
    std::byte* bottom = stacks_->bottom(slot);
    std::byte* top = stacks_->top(slot);
    thread.stack = slot;
    P::make_context(thread.context, top - (slot % kColours) * 64, &thread_main);
    P::fiber_create(thread.fiber, bottom, static_cast<usize>(top - bottom));
    w.bump(Count::started);
  }
  void set_current(Worker& w, Green& thread) noexcept {
    w.current = &thread;
    w.bump(Count::switches);
  }
  // Makes the thread the worker's current one; returns the context to resume.
  [[gnu::always_inline]] inline typename P::Context& enter(Worker& w, Green& thread) noexcept {
    if (thread.stack == Green::kNoStack) [[unlikely]]
      bind_stack(w, thread);
    GVT_INVARIANT("INV-CTX-2", stacks_->holds(thread.stack, P::stack_pointer(thread.context)));
    set_current(w, thread);
    return thread.context;
  }
  // The worker's current thread gives up the CPU to `next`, or to the idle context. Returns when
  // the thread is resumed, on whichever worker that is. INV-CTX-1: until finish_switch() on the
  // other side nobody else may touch the thread.
  [[gnu::always_inline]] static inline Worker& leave(Worker& w, Green& thread, Green* next,
                                                     Post post) noexcept {
    w.post = post;
    w.post_thread = &thread;
    if (next == nullptr) w.current = nullptr;
    typename P::Context& to = next != nullptr ? w.scheduler->enter(w, *next) : w.idle_context;
    const bool last = post == Post::exit;
    P::fiber_leave(thread.fiber, next != nullptr ? next->fiber : w.idle_fiber, last);
    auto& now =
        *static_cast<Worker*>(P::switch_context(last ? w.dead_context : thread.context, to, &w));
    P::fiber_enter(thread.fiber);
    now.scheduler->finish_switch(now);
    return now;
  }
  // What the context before this one has left to do, now that its stack is quiet.
  [[gnu::always_inline]] inline void finish_switch(Worker& w) noexcept {
    if (w.post == Post::requeue) [[likely]] {
      // With a look at the idle workers: one may have gone to sleep in the moment when the thread
      // was in no queue, and if the successor never gives up this worker, nobody else would come.
      push_ready(&w, *w.post_thread);
    } else {
      finish_other(w);
    }
  }
  [[gnu::noinline]] void finish_other(Worker& w) noexcept {
    if (w.post == Post::none) return;  // the idle context was left
    Green& thread = *w.post_thread;
    if (w.post == Post::exit) return release_thread(w, thread);
    if (take_step(thread, step_commit))
      make_ready(thread);  // its wait ended while it was on its way
  }
  // From the idle context to a thread, until some thread of this worker finds nothing more to run.
  GVT_SWITCHES void run(Worker& w, Green& thread) noexcept {
    typename P::Context& to = enter(w, thread);
    w.post = Post::none;
    P::fiber_leave(w.idle_fiber, thread.fiber, false);
    P::switch_context(w.idle_context, to, &w);
    P::fiber_enter(w.idle_fiber);
    finish_switch(w);
  }
  // The first function on every stack. It runs thread after thread: see end_thread().
  [[noreturn]] static GVT_SWITCHES void thread_main(void* worker) noexcept {
    auto* w = static_cast<Worker*>(worker);
    P::fiber_enter(w->current->fiber);
    w->scheduler->finish_switch(*w);
    for (;;) {
      Green& thread = *w->current;
      Cold<P>& cold = w->scheduler->colds_[thread.id];
      cold.invoke(cold.callable);
      w = current_worker();  // the thread may have moved
      GVT_INVARIANT("INV-CTX-2", w->current == &thread);
      end_thread(*w, thread);
    }
  }
  // The current thread is over. Returns only to run a successor that has no stack yet on this one:
  // a chain of short threads then needs no switch and stays on one hot stack.
  [[gnu::always_inline]] static inline void end_thread(Worker& w, Green& thread) noexcept {
    Scheduler& s = *w.scheduler;
    GVT_INVARIANT("INV-STACK-1", thread.stack != Green::kNoStack);
    ParkWord before;
    take_step(thread, [&before](ParkWord word) noexcept {
      before = word;
      return step_exit(word);
    });
    if (before.has(ParkWord::kJoined)) s.wake_joiners(thread);
    Green* next = s.pick(w);
    if (next != nullptr && next->stack == Green::kNoStack) {
      next->stack = thread.stack;
      thread.stack = Green::kNoStack;
      P::fiber_move(thread.fiber, next->fiber);
      P::reset_fpu();
      w.bump(Count::started);
      s.release_thread(w, thread);
      s.set_current(w, *next);
      return;
    }
    leave(w, thread, next, Post::exit);
    GVT_INVARIANT("INV-SLOT-1", false);  // an ended thread was resumed
  }
  // Stack and control block become free. The count comes last: a drained runtime has all its slots.
  [[gnu::noinline]] void release_thread(Worker& w, Green& thread) noexcept {
    const u32 stack = thread.stack;
    thread.stack = Green::kNoStack;
    if (stack != Green::kNoStack) {
      P::fiber_destroy(thread.fiber);
      stack_pool_.release(w.index, stack, [this](const u32* slots, u32 count) noexcept {
        stacks_->discard(slots, count);
      });
    }
    thread_pool_.release(w.index, thread.id);
    w.bump_release(Count::ended);
  }

  template <class Begin>
  [[gnu::always_inline]] static inline Ended wait(WaitKind kind, u64 deadline_ns,
                                                  Begin&& begin) noexcept {
    Worker* w = current_worker();
    Scheduler& s = *w->scheduler;
    Green& thread = *w->current;
    ParkWord word;
    take_step(
        thread, [kind](ParkWord before) noexcept { return step_prepare(before, kind); }, &word);
    if (word.phase() == Phase::active) return word.ended();
    // Parking from here on: a wake, a time-out or a cancel at any time is met by the commit after
    // the switch. [INV-PARK-1] ORD-STOP-1: the flag is read after the step, both seq_cst; stop()
    // sets it before it visits the words.
    const bool stopped =
        kind != WaitKind::uncancelled && s.stopping_.load(std::memory_order_seq_cst) != 0;
    if (stopped || !begin(thread)) {
      take_step(
          thread, [](ParkWord before) noexcept { return step_abort(before, Ended::cancel); },
          &word);
      return word.ended();
    }
    const bool earliest = deadline_ns != kNever && s.timers_.arm(w->index, thread, deadline_ns);
    w->bump(Count::parks);
    Green* next = s.pick(*w);
    // This worker goes on with other work, so it does not look at its timers as an idle one would.
    // [INV-TMR-2]
    if (earliest && next != nullptr && s.config_.workers > 1 && s.timers_.needs_keeper())
      s.wake_one();
    Worker& now = leave(*w, thread, next, Post::park);
    // Relaxed: the queue that the thread came through has ordered all that its waker wrote.
    const Ended ended = ParkWord{thread.word.load(std::memory_order_relaxed)}.ended();
    if (ended == Ended::timeout) {
      now.bump(Count::timeouts);
    } else if (deadline_ns != kNever) {
      s.timers_.disarm(thread);
    }
    return ended;
  }
  static Error error_of(Ended ended) noexcept {
    if (ended == Ended::timeout) return Error::timed_out;
    return ended == Ended::cancel ? Error::cancelled : Error::ok;
  }
  template <class StepFunction>
  Error end_from_outside(Handle handle, StepFunction&& step) noexcept {
    if (!handle || handle.id >= config_.max_threads) return Error::stale;
    bool enqueue = false;
    const Error error = take_step_if_alive(threads_[handle.id], handle.generation, step, enqueue);
    if (enqueue) make_ready(threads_[handle.id]);
    return error;
  }
  void wake_joiners(Green& target) noexcept {
    Joiner<P>* joiner = take_joiners(target, colds_[target.id]);
    while (joiner != nullptr) {
      Joiner<P>& woken = *joiner;
      joiner = woken.next;  // before the wake: after it the joiner's stack is its own again
      if (Green* thread = woken.thread) {
        auto* home = static_cast<Scheduler*>(woken.home);  // read before the step
        if (take_step(*thread, step_wake)) home->make_ready(*thread);
      } else {
        woken.ended.store(1, std::memory_order_release);  // ORD-JOIN-1
        P::wake(woken.ended);  // by its address, which may be another's by now: a spurious wake
      }
    }
  }
  Error join_from_outside(Green& target, u32 generation, u64 deadline_ns) noexcept {
    Joiner<P> joiner;
    if (!add_joiner(target, colds_[target.id], generation, joiner)) return Error::ok;
    while (joiner.ended.load(std::memory_order_acquire) == 0) {  // ORD-JOIN-1
      if (deadline_ns != kNever && P::now_ns() >= deadline_ns) {
        if (remove_joiner(target, colds_[target.id], joiner)) return Error::timed_out;
        deadline_ns = kNever;  // the exit was faster and is about to say so
      }
      P::wait(joiner.ended, 0, deadline_ns);
    }
    return Error::ok;
  }

  // The thread has become ready by a step of the caller's. Any OS thread.
  void make_ready(Green& thread) noexcept { push_ready(own_worker(), thread); }
  // w: the caller's worker if it is one of this scheduler's, else null.
  [[gnu::always_inline]] inline void push_ready(Worker* w, Green& thread) noexcept {
    if (w != nullptr) {
      queue_.push(w->index, thread);
      wake_one();
    } else {
      push_from_outside(thread);
    }
  }
  [[gnu::noinline]] void push_from_outside(Green& thread) noexcept {
    // Relaxed: before the push, through which the thread's end, and who sees it, come after this.
    guests_.fetch_add(1, std::memory_order_relaxed);
    List<Green> one;
    one.push_back(thread);
    queue_.push_global(one);
    wake_one();
    guests_.fetch_sub(1, std::memory_order_release);  // ORD-DRAIN-3
  }
  // After a push: one idle worker, unless somebody searches already. [INV-IDLE-1]
  [[gnu::always_inline]] inline void wake_one() noexcept {
    const u32 index = idle_.claim_any();
    if (index != kNobody) signal(workers_[index]);
  }
  // The worker has been claimed in idle_; exactly one claimer signals it.
  [[gnu::noinline]] void signal(Worker& w) noexcept {
    if (Worker* self = own_worker()) self->bump(Count::wakeups);
    // ORD-TOKEN-1: releases what made the worker necessary; pairs with its acquire in
    // sleep_in_kernel().
    if (w.token.exchange(Worker::kSignalled, std::memory_order_acq_rel) == Worker::kAsleep)
      P::wake(w.token);
  }
  // Makes due sleepers ready, on all heaps: their own workers may be busy. True if there were any.
  [[gnu::noinline]] bool expire_timers(Worker& w) noexcept {
    w.until_timers = kTimerInterval;
    if (timers_.earliest_ns() == kNever) return false;
    const u64 now = P::now_ns();
    bool any = false;
    for (u32 i = 0; i < config_.workers; ++i) {
      const u32 owner = (w.index + i) % config_.workers;
      // A batch at a time, until none is due.
      for (bool more = timers_.earliest_ns(owner) <= now; more;) {
        List<Green> ready;
        more = timers_.expire(owner, now, ready);
        if (ready.empty()) continue;
        any = true;
        queue_.push_all(w.index, ready);
        wake_one();
      }
    }
    return any;
  }
  Green* find_work(Worker& w) noexcept {
    if (Green* thread = pick(w)) return end_search(w, thread);
    if (expire_timers(w)) {
      if (Green* thread = queue_.pop(w.index)) return end_search(w, thread);
    }
    if (!w.searching) w.searching = idle_.begin_search(config_.workers);
    if (!w.searching) return nullptr;
    Green* thread = queue_.steal(w.index);
    if (thread == nullptr) return nullptr;
    w.bump(Count::steals);
    return end_search(w, thread);
  }
  // While somebody searches, producers wake nobody. So the last searcher that finds something looks
  // once more: for ready threads, and for a deadline that no idle worker waits for. [INV-IDLE-1,
  // INV-TMR-2]
  Green* end_search(Worker& w, Green* found) noexcept {
    if (!w.searching) return found;
    w.searching = false;
    if (idle_.end_search() && idle_.any_idle() && (queue_.any_ready() || timers_.needs_keeper()))
      wake_one();
    return found;
  }
  // The worker has found nothing. True when its loop shall end.
  bool idle(Worker& w, bool until_drained) noexcept {
    // Relaxed: nobody signals before the announcement publishes it.
    w.token.store(Worker::kAwake, std::memory_order_relaxed);
    idle_.announce(w.index, w.searching);
    w.searching = false;
    // ORD-IDLE-1 (b): the look that must follow the announcement.
    const bool ended = all_ended();
    if (ended) announce_drained(w);
    const bool leave_loop = (until_drained && ended) ||
                            (!until_drained && quitting_.load(std::memory_order_acquire) != 0);
    const u64 earliest = timers_.earliest_ns();
    const bool work = queue_.any_ready() || (earliest != kNever && earliest <= P::now_ns());
    if (!leave_loop && !work) sleep_in_kernel(w);
    if (!idle_.retract(w.index)) {
      while (w.token.load(std::memory_order_acquire) != Worker::kSignalled)
        P::relinquish();  // claimed: it is on its way
    }
    w.searching = true;
    if (!leave_loop) return false;
    end_search(w, nullptr);
    return true;
  }
  // Until a signal or the deadline that this worker keeps; spurious returns of the port's wait are
  // slept over.
  void sleep_in_kernel(Worker& w) noexcept {
    const u64 deadline_ns = timers_.keep(w.index);
    u32 token = Worker::kAwake;
    // ORD-TOKEN-1: acquire on the signalled path.
    if (w.token.compare_exchange_strong(token, Worker::kAsleep, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
      w.bump(Count::sleeps);
      do {
        P::wait(w.token, Worker::kAsleep, deadline_ns);
      } while (w.token.load(std::memory_order_acquire) != Worker::kSignalled &&
               (deadline_ns == kNever || P::now_ns() < deadline_ns));
    }
    timers_.unkeep(w.index);
  }
  // Every worker that becomes idle says so if all threads have ended: the last one's look sees all
  // ends.
  void announce_drained(Worker& w) noexcept {
    const u32 runner = runner_.load(std::memory_order_acquire);
    if (runner != kNobody && runner != w.index && idle_.claim(runner)) signal(workers_[runner]);
    if (drain_waiters_.load(std::memory_order_seq_cst) != 0) {  // ORD-DRAIN-2
      drain_epoch_.fetch_add(1, std::memory_order_release);
      P::wake(drain_epoch_);
    }
  }

  Config config_;
  Memory* stacks_ = nullptr;
  Worker* workers_ = nullptr;
  Green* threads_ = nullptr;
  Cold<P>* colds_ = nullptr;
  char (*names_)[kNameBytes] = nullptr;
  Pool thread_pool_;
  Pool stack_pool_;
  Queue queue_;
  Timers<P> timers_;
  IdleSet<P> idle_;
  typename P::template Atomic<u32> stopping_{0};
  typename P::template Atomic<u32> quitting_{0};
  typename P::template Atomic<u32> runner_{kNobody};  // the worker that runs until drained
  typename P::template Atomic<u32> drain_waiters_{0};
  typename P::template Atomic<u32> drain_epoch_{0};
  typename P::template Atomic<u32> guests_{0};  // in push_from_outside()
  typename P::template Atomic<u64> spawned_outside_{0};
};

}  // namespace gvt::core
