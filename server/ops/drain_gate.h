// SPDX-License-Identifier: Apache-2.0
//
// A gate that is closed once, when the server stops: calls that come later are refused, and calls
// under way go on.
#pragma once

#include <atomic>

#include "absl/status/status.h"
#include "core/base/reasons.h"

namespace talweg::server {

// Thread-safe.
class DrainGate {
 public:
  void Close() { closed_ = true; }
  // DRAINING if the gate is closed.
  absl::Status Check() const {
    if (!closed_) return absl::OkStatus();
    return core::MakeError(core::Reason::kDraining, "the server is stopping");
  }

 private:
  std::atomic<bool> closed_{false};
};

}  // namespace talweg::server
