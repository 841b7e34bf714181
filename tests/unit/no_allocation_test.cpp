// SPDX-License-Identifier: MIT
//
// no_allocation_test.cpp - between the return of start and the return of run nothing is allocated:
// malloc and its relatives, operator new, mmap, munmap and brk abort then. A second run has the
// kernel itself refuse those system calls, so that no caller inside the C library escapes.
// The job is the playground's: many threads that sleep and yield, two workers.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gvthread/gvthread.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "tests/support/build.hpp"

// ---- the allocator that aborts ----

namespace {

std::atomic<bool> g_forbidden{false};

[[maybe_unused]] void check(const char* what) noexcept {
  if (!g_forbidden.load(std::memory_order_relaxed)) return;
  g_forbidden = false;
  (void)!write(STDERR_FILENO, "allocation after start: ", 24);
  (void)!write(STDERR_FILENO, what, __builtin_strlen(what));
  (void)!write(STDERR_FILENO, "\n", 1);
  std::abort();
}

}  // namespace

#if !defined(GVT_ASAN) && !defined(GVT_TSAN)
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t n) {
  check("malloc");
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  check("calloc");
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  check("realloc");
  return __libc_realloc(p, n);
}
void* memalign(std::size_t alignment, std::size_t n) {
  check("memalign");
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  check("aligned_alloc");
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  check("posix_memalign");
  *p = __libc_memalign(alignment, n);
  return *p == nullptr ? ENOMEM : 0;
}
void free(void* p) {
  check("free");
  __libc_free(p);
}
void* mmap(void* at, std::size_t n, int protection, int flags, int fd, off_t offset) noexcept {
  check("mmap");
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, fd, offset));
}
int munmap(void* at, std::size_t n) noexcept {
  check("munmap");
  return static_cast<int>(syscall(SYS_munmap, at, n));
}
int brk(void*) noexcept {
  check("brk");
  return -1;
}
void* sbrk(std::intptr_t) noexcept {
  check("sbrk");
  return reinterpret_cast<void*>(-1);
}
}  // extern "C"

void* operator new(std::size_t n) {
  check("operator new");
  void* p = __libc_malloc(n);
  if (p == nullptr) std::abort();
  return p;
}
void operator delete(void* p) noexcept {
  check("operator delete");
  __libc_free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  check("operator delete");
  __libc_free(p);
}
#endif

// ---- the kernel that refuses ----

namespace {

// Kills the process at mmap, munmap, mremap and brk, in all of its OS threads. False where the
// system has no such filters.
bool forbid_by_seccomp() noexcept {
  const auto deny = [](unsigned number) -> sock_filter {
    return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
  };
  const sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      deny(SYS_mmap),
      kill,
      deny(SYS_munmap),
      kill,
      deny(SYS_mremap),
      kill,
      deny(SYS_brk),
      kill,
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

// ---- the job ----

constexpr gvt::u32 kThreads = gvt::test::scaled_threads(20'000);
constexpr gvt::u32 kRounds = 20;

std::atomic<gvt::u64> g_rounds{0};
std::atomic<gvt::u64> g_errors{0};

bool spawn_all(gvt::Runtime& runtime) {
  using namespace std::chrono_literals;
  for (gvt::u32 i = 0; i < kThreads; ++i) {
    const auto h = runtime.spawn(
        [i] {
          for (gvt::u32 r = 0; r < kRounds; ++r) {
            if (r % 4 == 0) {
              if (gvt::sleep_for(1ms * (1 + i % 5)) != gvt::Error::ok) g_errors.fetch_add(1);
            } else if (r % 4 == 1) {
              if (gvt::park(100us) != gvt::Error::timed_out) g_errors.fetch_add(1);
            } else if (r % 4 == 2) {
              const auto child = gvt::spawn([] { g_rounds.fetch_add(1); }, "child");
              if (child.ok()) {
                if (gvt::join(child.value()) != gvt::Error::ok) g_errors.fetch_add(1);
              } else {
                g_rounds.fetch_add(1);
                if (child.error() != gvt::Error::no_slot) g_errors.fetch_add(1);
              }
            } else {
              gvt::yield();
            }
            g_rounds.fetch_add(1);
          }
        },
        "sleeper");
    if (!h.ok()) return false;
  }
  return true;
}

constexpr gvt::u64 kAllRounds = gvt::u64{kThreads} * (kRounds + kRounds / 4);

gvt::Config job_config(gvt::QueueKind queue) {
  return {.workers = 2,
          .max_threads = kThreads + kThreads / 8,
          .slot_bytes = 64 * 1024,
          .queue = queue,
          .warm_stacks = 64};  // so that pages are given back during the run
}

bool run_with_aborting_allocator(gvt::QueueKind queue) {
  g_rounds = 0;
  gvt::Runtime runtime;
  if (!runtime.start(job_config(queue)).ok()) return false;
  g_forbidden = true;
  const bool good = spawn_all(runtime) && runtime.run() == gvt::Error::ok &&
                    g_rounds.load() == kAllRounds && g_errors.load() == 0;
  g_forbidden = false;
  return good;
}

// In a child: the filter stays for ever.
int run_with_refusing_kernel(gvt::QueueKind queue) {
  const pid_t child = fork();
  if (child == 0) {
    g_rounds = 0;
    gvt::Runtime runtime;
    if (!runtime.start(job_config(queue)).ok()) _exit(1);
    if (!forbid_by_seccomp()) _exit(77);
    const bool good = spawn_all(runtime) && runtime.run() == gvt::Error::ok &&
                      g_rounds.load() == kAllRounds && g_errors.load() == 0;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace

int main() {
  if (gvt::test::kSanitized) {
    std::puts("skipped: sanitizers bring their own allocator");
    return 0;
  }
  int failures = 0;
  for (const gvt::QueueKind queue : {gvt::QueueKind::simple, gvt::QueueKind::lock_free}) {
    const bool good = run_with_aborting_allocator(queue);
    std::printf("%s: aborting allocator: %s\n", gvt::queue_kind_name(queue),
                good ? "ok" : "FAILED");
    std::fflush(stdout);
    const int refused = run_with_refusing_kernel(queue);
    std::printf("%s: refusing kernel: %s (%d)\n", gvt::queue_kind_name(queue),
                refused == 0    ? "ok"
                : refused == 77 ? "skipped, no seccomp"
                                : "FAILED",
                refused);
    std::fflush(stdout);
    failures += (good ? 0 : 1) + (refused == 0 || refused == 77 ? 0 : 1);
  }
  // The trap works: an allocation while it is forbidden ends the program.
  const pid_t child = fork();
  if (child == 0) {
    fclose(stderr);
    close(STDERR_FILENO);
    g_forbidden = true;
    void* volatile p = std::malloc(1);
    _exit(p != nullptr ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFSIGNALED(status)) {
    std::puts("the aborting allocator does not abort: FAILED");
    ++failures;
  }
  return failures == 0 ? 0 : 1;
}
