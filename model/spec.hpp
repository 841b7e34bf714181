// SPDX-License-Identifier: MIT
//
// spec.hpp - what the kernel does, without how: a pure, single-threaded specification. Each thread
// is a small state machine whose steps are functions from a state to the next one, or to nothing
// when the step is not allowed. Spec puts the threads of one runtime together with the ready
// threads, the sleepers, the clock and stop, says which results an operation may have, and states
// the invariants by name. Written from docs/architecture.md, not from core; shares with core only
// ids and error codes. The rig (model/kernel_rig.hpp) maps the real structures to this state and
// compares. May include core/types.hpp and the hosted library.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "core/types.hpp"
#include "model/coverage.hpp"

namespace gvt::spec {

GVT_MODEL_BEGIN

// ---- one thread ----

enum class State : u8 {
  free,     // no thread: the slot may be taken
  ready,    // in exactly one ready queue
  running,  // on a worker
  parking,  // waits, but its stack is still in use
  parked,   // waits, nobody uses its stack
};

// What a wait may be ended by, beside a wake and its deadline.
enum class Wait : u8 {
  park,    // a permit; a cancel
  object,  // a cancel: sleep, join
  owed,    // nothing else: a wake that is known to come
};

enum class Why : u8 { permit, wake, timeout, cancel };

struct Thread {
  State state = State::free;
  u32 generation = 0;      // of this life, or of the next one if the slot is free; 0: never used
  bool permit = false;     // an unpark that no park has consumed yet
  bool owed = false;       // a wake that came after its wait had ended otherwise
  bool cancelled = false;  // sticky
  bool joined = false;     // somebody waits for the end
  Wait wait = Wait::park;  // of the present wait; else Wait::park
  Why why = Why::permit;   // how the last wait ended, in this life
  bool on_stack = false;   // ready, but its stack is not quiet yet: it is on its way into a queue

  bool alive() const { return state != State::free; }
  bool waits() const { return state == State::parking || state == State::parked; }
  friend bool operator==(const Thread&, const Thread&) = default;
};

using Next = std::optional<Thread>;

// The generation after this one: 0 means "no thread" and is left out.
inline u32 next_generation(u32 generation) { return generation + 1 == 0 ? 1 : generation + 1; }

// free -> ready
inline Next spawn(const Thread& t) {
  if (t.alive()) return std::nullopt;  // INV-SLOT-1
  Thread n;
  n.state = State::ready;
  n.generation = t.generation == 0 ? 1 : t.generation;
  return n;
}

// running -> free; nothing of this life is left but the next generation. INV-SLOT-1
inline Next exit(const Thread& t) {
  if (t.state != State::running) return std::nullopt;
  Thread n;
  n.generation = next_generation(t.generation);
  return n;
}

// Any waiting thread -> ready. One whose stack is still in use enters its queue later, by commit().
inline Thread end_wait(Thread t, Why why) {
  t.on_stack = t.state == State::parking;
  t.state = State::ready;
  t.wait = Wait::park;
  t.why = why;
  return t;
}

// running -> parking; or still running, when the wait is over before it has begun: by a permit,
// which is consumed, else by a cancel, else by a wake that was owed. INV-PARK-1, INV-WAIT-1
inline Next begin_wait(Thread t, Wait wait) {
  if (t.state != State::running) return std::nullopt;
  if (wait == Wait::park && t.permit) {
    t.permit = false;
    t.why = Why::permit;
  } else if (wait != Wait::owed && t.cancelled) {
    t.why = Why::cancel;
  } else if (wait == Wait::owed && t.owed) {
    t.owed = false;
    t.why = Why::wake;
  } else {
    t.state = State::parking;
    t.wait = wait;
    t.why = Why::permit;
  }
  return t;
}

// The thread gives its wait up before it has left its stack: the runtime is being stopped, or what
// it wanted to wait for is over. A wait that has ended meanwhile keeps its reason.
inline Next give_up(Thread t) {
  if (t.state == State::parking)
    t.why = Why::cancel;
  else if (t.state != State::ready || !t.on_stack)
    return std::nullopt;
  t.state = State::running;
  t.wait = Wait::park;
  t.on_stack = false;
  return t;
}

// The stack is quiet: parking -> parked; a wait that has ended meanwhile enters its queue now.
// INV-CTX-1
inline Next commit(Thread t) {
  if (t.state == State::parking)
    t.state = State::parked;
  else if (t.state == State::ready && t.on_stack)
    t.on_stack = false;
  else
    return std::nullopt;
  return t;
}

// A permit for the thread: ends a park, or is kept. At most one. INV-PARK-1
inline Next unpark(Thread t) {
  if (!t.alive()) return std::nullopt;
  if (t.waits() && t.wait == Wait::park) return end_wait(t, Why::permit);
  t.permit = true;
  return t;
}

// What the thread waits for has happened. A wake that finds the wait ended is owed. INV-WAIT-1
inline Next wake(Thread t) {
  if (!t.alive() || t.owed) return std::nullopt;
  if (t.waits()) return end_wait(t, Why::wake);
  t.owed = true;
  return t;
}

// The deadline has passed. It ends a wait and takes nothing else away. INV-TMR-3
inline Next timeout(Thread t) {
  if (!t.alive()) return std::nullopt;
  return t.waits() ? end_wait(t, Why::timeout) : t;
}

// Sticky: this wait, and each later one before it begins.
inline Next cancel(Thread t) {
  if (!t.alive()) return std::nullopt;
  t.cancelled = true;
  if (t.waits() && t.wait != Wait::owed) return end_wait(t, Why::cancel);
  return t;
}

inline Next join_registered(Thread t) {
  if (!t.alive()) return std::nullopt;
  t.joined = true;
  return t;
}

// What park() answers after such a wait.
inline Error result_of(Why why) {
  if (why == Why::timeout) return Error::timed_out;
  return why == Why::cancel ? Error::cancelled : Error::ok;
}

// ---- the runtime ----

class Spec {
 public:
  using Sleeper = std::pair<u64, u32>;  // deadline, id

  std::vector<Thread> threads;
  std::vector<Sleeper> sleepers;  // by deadline; as a multimap, in one piece
  std::deque<u32> queue;          // ready threads, oldest first; kept where one queue holds all
  bool fifo = false;              // queue is kept: one worker, and all threads fit its local queue
  u32 yielding = kNobody;         // in fifo: has called yield, and is queued when another runs
  u64 now_ns = 0;
  bool stopping = false;  // stop() has begun
  bool stopped = false;   // and returned
  u32 live = 0;
  u64 spawned = 0;
  u64 ended = 0;

  static constexpr u32 kNobody = ~u32{0};

  void reset(u32 capacity, bool keep_fifo, u64 start_ns) {
    threads.assign(capacity, Thread{});
    sleepers.clear();
    queue.clear();
    fifo = keep_fifo;
    yielding = kNobody;
    now_ns = start_ns;
    stopping = stopped = false;
    live = 0;
    spawned = ended = 0;
  }

  // -- operations: the thread takes a step that has been found allowed --

  void take(u32 id, const Thread& after) {
    Thread& t = threads[id];
    const bool became_ready =
        after.state == State::ready && !after.on_stack && !(t.state == State::ready && !t.on_stack);
    if (!t.alive() && after.alive()) {
      ++live;
      ++spawned;
    }
    if (t.alive() && !after.alive()) {
      ++ended;
      --live;
    }
    t = after;
    if (became_ready && fifo) queue.push_back(id);
  }

  void sleep(u32 id, u64 deadline_ns) {
    if (deadline_ns == kNever) return;
    const Sleeper sleeper{deadline_ns, id};
    sleepers.insert(std::upper_bound(sleepers.begin(), sleepers.end(), sleeper), sleeper);
  }

  // Its wait is over, whatever has ended it.
  void end_sleep(u32 id) {
    std::erase_if(sleepers, [id](const Sleeper& s) { return s.second == id; });
  }

  u64 deadline_of(u32 id) const {
    for (const Sleeper& s : sleepers) {
      if (s.second == id) return s.first;
    }
    return kNever;
  }

  // The running thread lets others run.
  bool yield(u32 id) {
    if (threads[id].state != State::running) return false;
    threads[id].state = State::ready;
    if (fifo) yielding = id;
    return true;
  }

  // A worker runs the thread: it was ready, or it never stopped. The broken invariant, or null.
  const char* dispatch(u32 id) {
    Thread& t = threads[id];
    if (t.state == State::running) return nullptr;
    if (t.state != State::ready) return "INV-WAKE-1";
    if (t.on_stack) return "INV-CTX-1";
    t.state = State::running;
    if (!fifo) return nullptr;
    if (yielding == id) {  // nobody else has run in between
      yielding = kNobody;
      return queue.empty() ? nullptr : "INV-RQ-3";
    }
    if (queue.empty() || queue.front() != id) return "INV-RQ-3";
    queue.pop_front();
    if (yielding != kNobody) queue.push_back(std::exchange(yielding, kNobody));
    return nullptr;
  }

  void stop() { stopping = true; }

  // -- results --

  bool knows(Handle h) const { return h && h.id < threads.size(); }
  bool alive(Handle h) const {
    return knows(h) && threads[h.id].alive() && threads[h.id].generation == h.generation;
  }
  // That life is over; older generations are those half of all numbers before the present one.
  bool has_ended(Handle h) const {
    return knows(h) && static_cast<std::int32_t>(threads[h.id].generation - h.generation) > 0;
  }

  // unpark and cancel, at their end. taken: the step was taken meanwhile; lived: at the beginning.
  bool allows_step(Handle h, Error result, bool taken, bool lived) const {
    if (result == Error::ok) return taken;
    return result == Error::stale && !taken && (!lived || !alive(h));
  }

  // What a wait of the thread itself answers: exactly how it ended.
  bool allows_park(u32 id, Error result) const {
    return threads[id].why != Why::wake && result == result_of(threads[id].why);
  }
  bool allows_sleep(u32 id, Error result, u64 deadline_ns) const {
    const Why why = threads[id].why;
    if (result == Error::ok) return why == Why::timeout && now_ns >= deadline_ns;  // INV-TMR-1
    return result == Error::cancelled && why == Why::cancel && (threads[id].cancelled || stopping);
  }

  // self: the joining thread, or kNobody. known: the handle had been issued when the join began.
  bool allows_join(u32 self, Handle h, u64 deadline_ns, Error result, bool known) const {
    switch (result) {
      case Error::ok: return has_ended(h);
      case Error::stale: return !known;
      case Error::deadlock: return self != kNobody && self == h.id && alive(h);
      case Error::timed_out: return deadline_ns != kNever && now_ns >= deadline_ns;
      case Error::cancelled: return self != kNobody && (threads[self].cancelled || stopping);
      default: return false;
    }
  }

  // -- invariants, for a moment at which no operation is half done --

  // Every thread is in one place: a ready one is queued once, no other one is.
  const char* inv_rq_1(const std::vector<u8>& places_in_queues) const {
    for (u32 id = 0; id < threads.size(); ++id) {
      const u8 places = places_in_queues[id];
      if (places > 1) return "INV-RQ-1";
      if (threads[id].on_stack || threads[id].state == State::parking) return "INV-CTX-1";
      const bool should = threads[id].state == State::ready;
      if (should && places == 0) return "INV-STEAL-1";
      if (!should && places != 0) return "INV-WAKE-1";
    }
    return nullptr;
  }

  // The heaps hold exactly the sleepers, with their deadlines.
  bool inv_tmr_3(const std::vector<Sleeper>& real) const { return real == sleepers; }

  // A slot is free in the pool exactly if no thread lives in it; each once.
  bool inv_slot_2(const std::vector<u8>& places_in_pool, u32 used) const {
    for (u32 id = 0; id < threads.size(); ++id) {
      if (places_in_pool[id] != (id < used && !threads[id].alive() ? 1 : 0)) return false;
    }
    return true;
  }

  // While every OS thread waits, `blocked` of the workers inside a thread that blocks them: if none
  // is, nobody is ready; and if some worker is not, it would run whoever is ready.
  bool inv_idle_1(u32 blocked) const {
    return count(State::running) == blocked && (blocked != 0 || count(State::ready) == 0);
  }
  bool inv_idle_3(u32 blocked, u32 workers) const {
    return blocked == workers || count(State::ready) == 0;
  }
  u32 count(State state) const {
    return static_cast<u32>(std::count_if(threads.begin(), threads.end(),
                                          [state](const Thread& t) { return t.state == state; }));
  }
  // Some worker will wake for the first sleeper.
  bool inv_tmr_2(u64 armed_ns) const { return sleepers.empty() || armed_ns <= sleepers[0].first; }

  // While every worker sleeps no park lasts that a permit or a cancel should have ended.
  bool inv_park_1() const {
    return std::none_of(threads.begin(), threads.end(), [this](const Thread& t) {
      return t.waits() && ((t.wait == Wait::park && t.permit) ||
                           (t.wait != Wait::owed && (t.cancelled || stopped)) ||
                           (t.wait == Wait::owed && t.owed));
    });
  }

  // A drained runtime has nothing left.
  bool inv_drain_1() const {
    return live == 0 && spawned == ended && sleepers.empty() && queue.empty();
  }
};

GVT_MODEL_END

}  // namespace gvt::spec
