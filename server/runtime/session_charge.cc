// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_charge.h"

#include <algorithm>
#include <utility>

#include "core/base/status_macros.h"

namespace talweg::server {

core::Reconfigured SessionCharge::Change(core::Session& session, uint64_t history,
                                         const core::SessionConfig& config, absl::Time now) {
  core::Reconfigured outcome;
  const uint64_t before = memory_.bytes();
  outcome.effects.status = memory_.Resize(std::max(before, config.MemoryBytes()));
  if (!outcome.effects.status.ok()) return outcome;
  outcome = session.Reconfigure(history, config, now);
  if (outcome.effects.status.ok()) {
    Settle(session);
  } else {
    (void)memory_.Resize(before);  // gives back, which cannot fail
  }
  return outcome;
}

void SessionCharge::Settle(const core::Session& session) {
  const core::SessionConfig& now = session.config();
  const core::SessionConfig& newest = session.newest_config();
  change_waits_ = &now != &newest;
  (void)memory_.Resize(std::max(now.MemoryBytes(), newest.MemoryBytes()));  // never more than held
}

absl::Status SessionCharge::ChargeRound(uint64_t extra_bytes) {
  if (round_extra_.budget() != nullptr) return round_extra_.Resize(extra_bytes);
  if (extra_bytes == 0 || memory_.budget() == nullptr) return absl::OkStatus();
  TALWEG_ASSIGN_OR_RETURN(round_extra_, memory_.budget()->Reserve(extra_bytes));
  return absl::OkStatus();
}

}  // namespace talweg::server
