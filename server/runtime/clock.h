// SPDX-License-Identifier: Apache-2.0
//
// The two clocks of the server.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace talweg::server {

// For leases. This clock never jumps, and its time means nothing outside this process.
inline absl::Time MonotonicNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

// The same time, as a time of the steady clock.
inline std::chrono::steady_clock::time_point SteadyTime(absl::Time monotonic) {
  return std::chrono::steady_clock::time_point(
      absl::ToChronoNanoseconds(monotonic - absl::UnixEpoch()));
}

// For times that people read.
inline absl::Time WallNow() { return absl::Now(); }

}  // namespace talweg::server
