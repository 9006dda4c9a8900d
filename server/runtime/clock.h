// SPDX-License-Identifier: Apache-2.0
//
// The two clocks of the server.
#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace talweg::server {

// For leases: never jumps, means nothing outside this process.
inline absl::Time MonotonicNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

// The same time as the steady clock says it.
inline std::chrono::steady_clock::time_point SteadyTime(absl::Time monotonic) {
  return std::chrono::steady_clock::time_point(
      absl::ToChronoNanoseconds(monotonic - absl::UnixEpoch()));
}

// For what people read.
inline absl::Time WallNow() { return absl::Now(); }

}  // namespace talweg::server
