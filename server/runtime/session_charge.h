// SPDX-License-Identifier: Apache-2.0
//
// What a session is charged for its memory.
//
// Its configuration says how much it takes (SessionConfig::MemoryBytes). While a change waits for
// the next version, the session has the memory of both configurations. An open round may turn out
// to take more than was said, which is charged by itself.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/session/session.h"
#include "server/runtime/memory_budget.h"

namespace talweg::server {

// Thread-compatible: owned by the operation under way.
class SessionCharge {
 public:
  // `memory` was reserved for the configuration that the session is made with.
  explicit SessionCharge(MemoryBudget::Reservation memory) : memory_(std::move(memory)) {}

  uint64_t bytes() const { return memory_.bytes(); }
  // Where the memory came from; null if nothing is charged.
  MemoryBudget* budget() const { return memory_.budget(); }

  // Changes the session's configuration, if there is memory for the new one. Fails with
  // MEMORY_QUOTA, or as core::Session::Reconfigure; then nothing has changed.
  core::Reconfigured Change(core::Session& session, uint64_t history,
                            const core::SessionConfig& config, absl::Time now);
  // A version was made: a configuration that waited for it is in force.
  void VersionWasMade(const core::Session& session) {
    if (change_waits_) Settle(session);
  }

  // Charges what the open round takes beyond what its configuration says. MEMORY_QUOTA.
  absl::Status ChargeRound(uint64_t extra_bytes);

 private:
  void Settle(const core::Session& session);

  MemoryBudget::Reservation memory_;
  MemoryBudget::Reservation round_extra_;
  bool change_waits_ = false;  // for the next version
};

}  // namespace talweg::server
