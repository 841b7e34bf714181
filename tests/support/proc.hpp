// SPDX-License-Identifier: MIT
//
// proc.hpp - what /proc says of this process. Source: proc(5).
#pragma once

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/types.hpp"
#include "platform/linux/sanitizer.hpp"

namespace gvt::test {

inline u32 own_tid() noexcept { return static_cast<u32>(syscall(SYS_gettid)); }

// Always 0 under a sanitizer, which maps and splits its own shadow memory whenever it likes: bounds
// on the count are checked in the ordinary builds.
inline u64 mapping_count() noexcept {
#if defined(GVT_TSAN) || defined(GVT_ASAN)
  return 0;
#endif
  std::FILE* file = std::fopen("/proc/self/maps", "re");
  if (file == nullptr) return 0;
  u64 lines = 0;
  for (int c; (c = std::fgetc(file)) != EOF;) lines += c == '\n' ? 1 : 0;
  std::fclose(file);
  return lines;
}

// A number of /proc/self/<file> that follows `key` at the start of a line, or 0.
inline u64 number_after(const char* path, const char* key) noexcept {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return 0;
  char line[256];
  u64 number = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, key, std::strlen(key)) == 0) {
      number = std::strtoull(line + std::strlen(key), nullptr, 10);
      break;
    }
  }
  std::fclose(file);
  return number;
}

inline u64 address_space_kb() noexcept { return number_after("/proc/self/status", "VmSize:"); }
inline u64 os_thread_count() noexcept { return number_after("/proc/self/status", "Threads:"); }

// Calls f(tid) for each OS thread of this process.
template <class F>
void for_each_task(F&& f) {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return;
  while (const dirent* entry = readdir(tasks)) {
    if (entry->d_name[0] != '.') f(static_cast<u32>(std::atoi(entry->d_name)));
  }
  closedir(tasks);
}

// Whether the OS thread waits in the kernel.
inline bool sleeps(u32 tid) noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%u/status", tid);
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  char line[256];
  char state = '?';
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "State: %c", &state) == 1) break;
  }
  std::fclose(file);
  return state == 'S';
}

// Voluntary and involuntary context switches of one OS thread.
inline u64 context_switches(u32 tid) noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%u/status", tid);
  return number_after(path, "voluntary_ctxt_switches:") +
         number_after(path, "nonvoluntary_ctxt_switches:");
}

}  // namespace gvt::test
