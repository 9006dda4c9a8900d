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

// For what people read.
inline absl::Time WallNow() { return absl::Now(); }

}  // namespace talweg::server
