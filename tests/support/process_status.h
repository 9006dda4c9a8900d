// SPDX-License-Identifier: Apache-2.0
//
// What the kernel tells of a process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace talweg::testing {

// A number of /proc/PID/status: "Threads"; 0 where there is none.
inline uint64_t StatusNumber(pid_t pid, const std::string& name) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string word; file >> word;) {
    uint64_t number = 0;
    if (word == name + ":" && file >> number) return number;
  }
  return 0;
}

// One that is told in KiB, in bytes: "VmRSS", what is resident, "VmHWM", the most that ever was.
inline uint64_t StatusBytes(pid_t pid, const std::string& name) {
  return StatusNumber(pid, name) << 10;
}

}  // namespace talweg::testing
