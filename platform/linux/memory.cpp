// SPDX-License-Identifier: MIT
//
// memory.cpp - see memory.hpp.
#include "platform/linux/memory.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gvt::platform_linux {

namespace {

constexpr int kMadvGuardInstall = 102;  // linux/mman.h since 6.13
constexpr int kPidfdSelf = -10000;  // linux/pidfd.h since 6.14: this process, without a descriptor

// Ranges in one call. The kernel takes 1 024, the gain flattens from 64 on, and they lie on a green
// thread's small stack.
constexpr u32 kRanges = 64;

// Guards are installed ahead of use, as many as there are already, within these bounds.
constexpr u64 kGuardBatchMin = 64;
constexpr u64 kGuardBatchMax = 1024;

u64 round_up(u64 value, u64 unit) noexcept { return (value + unit - 1) / unit * unit; }

// One advice for many ranges. Where the kernel does not take a vector for the process itself, one
// call each.
bool advise(iovec* ranges, u32 count, int advice) noexcept {
  u32 done = 0;
  while (done < count) {
    const long r =
        syscall(SYS_process_madvise, kPidfdSelf, ranges + done, count - done, advice, 0u);
    if (r <= 0) break;
    // Bytes advised; ranges are taken whole and in order.
    for (u64 left = static_cast<u64>(r); done < count && left >= ranges[done].iov_len; ++done)
      left -= ranges[done].iov_len;
  }
  for (; done < count; ++done) {
    if (madvise(ranges[done].iov_base, ranges[done].iov_len, advice) != 0) return false;
  }
  return true;
}

// EINVAL may also mean that memory is locked, so the question is asked of a page of its own.
bool guard_install_works() noexcept {
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (page == MAP_FAILED) return false;
  const bool works = madvise(page, kPageBytes, kMadvGuardInstall) == 0;
  munmap(page, kPageBytes);
  return works;
}

// The first number in a file of /proc, or `otherwise`.
u64 read_number(const char* path, u64 otherwise) noexcept {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return otherwise;
  char text[32];
  const ssize_t size = read(fd, text, sizeof text);
  close(fd);
  u64 number = 0;
  ssize_t i = 0;
  for (; i < size && text[i] >= '0' && text[i] <= '9'; ++i)
    number = number * 10 + static_cast<u64>(text[i] - '0');
  return i == 0 ? otherwise : number;
}

u64 mappings_now() noexcept {
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[4096];
  u64 lines = 0;
  for (ssize_t size; (size = read(fd, text, sizeof text)) > 0;) {
    for (ssize_t i = 0; i < size; ++i) lines += text[i] == '\n' ? 1 : 0;
  }
  close(fd);
  return lines;
}

// How many guards by mprotect the kernel would still take: each splits a mapping into two more.
// Some mappings are left for the rest of the program.
u64 mprotect_guard_budget() noexcept {
  constexpr u64 kSpare = 1024;
  const u64 limit = read_number("/proc/sys/vm/max_map_count", 65530);
  const u64 used = mappings_now() + kSpare;
  return limit > used ? (limit - used) / 2 : 0;
}

}  // namespace

MapError Memory::map(const Config& config, u64 kernel_bytes) noexcept {
  mode_ = config.guards;
  if (mode_ == GuardMode::automatic)
    mode_ = guard_install_works() ? GuardMode::madvise : GuardMode::mprotect;
  if (mode_ == GuardMode::madvise && !guard_install_works()) return {Error::map_limit, EINVAL, 0};
  if (mode_ == GuardMode::mprotect) {
    const u64 budget = mprotect_guard_budget();
    if (config.max_threads > budget) return {Error::map_limit, ENOMEM, budget};
  }
  stride_bytes_ = config.slot_bytes + kPageBytes;
  slots_ = config.max_threads;
  const u64 kernel_space = round_up(kernel_bytes, kPageBytes);
  total_bytes_ = kernel_space + u64{slots_} * stride_bytes_;
  // NORESERVE: the space is promised, not the memory.
  void* base = mmap(nullptr, total_bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return {Error::no_memory, errno, 0};
  base_ = static_cast<std::byte*>(base);
  stacks_ = base_ + kernel_space;
  guarded_.store(0, std::memory_order_relaxed);  // no other OS thread yet
  return {};
}

Memory& Memory::operator=(Memory&& from) noexcept {
  base_ = from.base_;
  stacks_ = from.stacks_;
  total_bytes_ = from.total_bytes_;
  stride_bytes_ = from.stride_bytes_;
  slots_ = from.slots_;
  mode_ = from.mode_;
  guarded_.store(from.guarded_.load(std::memory_order_relaxed),
                 std::memory_order_relaxed);  // one OS thread only
  from.base_ = from.stacks_ = nullptr;
  return *this;
}

void Memory::unmap() noexcept {
  if (base_ != nullptr) munmap(base_, total_bytes_);
  base_ = stacks_ = nullptr;
}

u32 Memory::admit(u32 first, u32 count) noexcept {
  if (mode_ != GuardMode::mprotect) return count;
  u32 admitted = 0;
  while (admitted < count && install_guards(first + admitted + 1)) ++admitted;
  return admitted;
}

u32 Memory::prepare(u32 first, u32 count) noexcept {
  // Acquire: the guards that admit() has installed, perhaps on another OS thread.
  const u32 guarded = guarded_.load(std::memory_order_acquire);
  if (mode_ == GuardMode::none || first + count <= guarded) return count;
  if (mode_ == GuardMode::mprotect) return guarded > first ? guarded - first : 0;
  // A kernel that takes the advice at the start refuses it later only when it is out of memory for
  // page tables.
  u64 more = guarded < kGuardBatchMin ? kGuardBatchMin : guarded;
  if (more > kGuardBatchMax) more = kGuardBatchMax;
  const u64 end = u64{first} + more;
  GVT_INVARIANT("INV-GUARD-1", install_guards(end < slots_ ? static_cast<u32>(end) : slots_));
  return count;
}

bool Memory::install_guards(u32 end) noexcept {
  const u32 begin = guarded_.load(std::memory_order_relaxed);  // written under the caller's lock
  if (end <= begin) return true;
  if (mode_ == GuardMode::mprotect) {
    for (u32 slot = begin; slot < end; ++slot) {
      if (mprotect(stacks_ + u64{slot} * stride_bytes_, kPageBytes, PROT_NONE) != 0) return false;
      guarded_.store(slot + 1, std::memory_order_release);
    }
    return true;
  }
  for (u32 slot = begin; slot < end;) {
    iovec ranges[kRanges];
    u32 n = 0;
    for (; n < kRanges && slot < end; ++n, ++slot)
      ranges[n] = {stacks_ + u64{slot} * stride_bytes_, kPageBytes};
    if (!advise(ranges, n, kMadvGuardInstall)) return false;
    guarded_.store(slot, std::memory_order_release);
  }
  return true;
}

void Memory::discard(const u32* slots, u32 count) noexcept {
  while (count > 0) {
    iovec ranges[kRanges];
    const u32 n = count < kRanges ? count : kRanges;
    for (u32 i = 0; i < n; ++i) ranges[i] = {bottom(slots[i]), stride_bytes_ - kPageBytes};
    // Refused only for locked memory, which then keeps its pages: a loss of memory, not of
    // correctness.
    advise(ranges, n, MADV_DONTNEED);
    slots += n;
    count -= n;
  }
}

u32 Memory::guard_at(const void* address) const noexcept {
  const auto at = static_cast<const std::byte*>(address) - stacks_;
  if (stacks_ == nullptr || at < 0 || static_cast<u64>(at) >= u64{slots_} * stride_bytes_)
    return ~u32{0};
  return static_cast<u64>(at) % stride_bytes_ < kPageBytes
             ? static_cast<u32>(static_cast<u64>(at) / stride_bytes_)
             : ~u32{0};
}

}  // namespace gvt::platform_linux
