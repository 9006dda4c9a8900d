// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tells of a process. For tests and benchmarks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace talweg::testing {

// A number that /proc/PID/status tells, such as "Threads"; 0 if it has no number of that name.
inline uint64_t StatusNumber(pid_t pid, const std::string& name) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string word; file >> word;) {
    uint64_t number = 0;
    if (word == name + ":" && file >> number) return number;
  }
  return 0;
}

// A number that /proc/PID/status tells in KiB, in bytes: "VmRSS" is the memory that is resident,
// "VmHWM" the most that ever was resident.
inline uint64_t StatusBytes(pid_t pid, const std::string& name) {
  return StatusNumber(pid, name) << 10;
}

}  // namespace talweg::testing
