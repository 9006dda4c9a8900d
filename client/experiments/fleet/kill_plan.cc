// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/kill_plan.h"

namespace talweg {

KillPlan::KillPlan(absl::Duration period, absl::Duration lease, uint64_t seed, absl::Time start)
    : period_(period),
      lease_(lease),
      random_(seed),
      next_(period > absl::ZeroDuration() ? start + period : absl::InfiniteFuture()) {}

std::optional<size_t> KillPlan::Due(absl::Time now, const std::vector<bool>& running) {
  if (now < next_) return std::nullopt;
  std::vector<size_t> candidates;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i]) candidates.push_back(i);
  }
  if (candidates.empty()) return std::nullopt;
  next_ += period_;
  if (next_ <= now) next_ = now + period_;
  return candidates[random_() % candidates.size()];
}

absl::Duration KillPlan::Absence() { return 2 * Uniform() * lease_; }

double KillPlan::Uniform() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

}  // namespace talweg
