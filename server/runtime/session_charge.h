// SPDX-License-Identifier: Apache-2.0
//
// What a session is charged for its memory.
//
// The configuration says how much memory the session needs (SessionConfig::MemoryBytes). While a
// change waits for the next version, the session is charged for the larger of both configurations.
// An open round may turn out to need more than its configuration says; the rest is charged
// separately.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/session/session.h"
#include "server/runtime/memory_budget.h"

namespace talweg::server {

// Thread-compatible: it belongs to the operation under way.
class SessionCharge {
 public:
  // `memory` was reserved for the configuration that the session is made with.
  explicit SessionCharge(MemoryBudget::Reservation memory) : memory_(std::move(memory)) {}

  uint64_t bytes() const { return memory_.bytes(); }
  // The budget that is charged; null if nothing is charged.
  MemoryBudget* budget() const { return memory_.budget(); }

  // Changes the session's configuration, if there is memory for the new configuration. Fails with
  // MEMORY_QUOTA, or as core::Session::Reconfigure does; then nothing has changed.
  core::Reconfigured Change(core::Session& session, uint64_t history,
                            const core::SessionConfig& config, absl::Time now);
  // A version was made, so a configuration that waited for it is in force.
  void VersionWasMade(const core::Session& session) {
    if (change_waits_) Settle(session);
  }

  // Charges the bytes that the open round needs beyond what its configuration says. Fails with
  // MEMORY_QUOTA.
  absl::Status ChargeRound(uint64_t extra_bytes);

 private:
  void Settle(const core::Session& session);

  MemoryBudget::Reservation memory_;
  MemoryBudget::Reservation round_extra_;
  bool change_waits_ = false;  // A configuration waits for the next version.
};

}  // namespace talweg::server
