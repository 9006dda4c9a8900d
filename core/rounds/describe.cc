// SPDX-License-Identifier: Apache-2.0
//
// What the open round waits for, as a person asks.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/rounds/closing_rule.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {

std::optional<RoundDescription> RoundMachine::DescribeRound(absl::Time now) const {
  now = std::max(now, now_);
  RoundDescription told;
  told.version = version_ + 1;
  told.mode = aggregation().mode;
  told.config_version = close_config_version_;
  told.num_contributions = round_.members.size();
  told.weight = round_.weight.Value();
  std::vector<std::string> contributed;
  for (const RoundMember& member : round_.members) contributed.push_back(member.worker);
  told.contributed = ListOf(std::move(contributed));
  if (!round_.members.empty()) told.open_for = now - round_.first;
  if (aggregation().synchronous()) {
    DescribeSynchronous(now, told);
  } else if (bounded()) {
    told.needed_contributions = 1;
    // Only the slowest are waited for, and only while an answer is held.
    if (clocks_.HoldsAnybody(workers_.table())) {
      told.expected = ListOf(workers_.table(), [this](const Worker& worker) {
        return worker.counted && worker.clock == clocks_.least();
      });
    }
  } else {
    told.needed_contributions = aggregation().gradient_accumulation_steps;
  }
  if (round_.members.empty() && told.expected.count == 0) return std::nullopt;
  return told;
}

void RoundMachine::DescribeSynchronous(absl::Time now, RoundDescription& told) const {
  told.close = closing_.close;
  told.too_few = closing_.too_few;
  told.needed_contributions = closing_.close_count;
  told.needed_weight = closing_.close_weight;
  if (expectations_.frozen()) {
    told.frozen_for = now - expectations_.frozen_at();
    told.expected = expectations_.Expected(workers_.table());
    told.late = expectations_.Late(workers_.table());
    const absl::Time deadline = CloseDeadline(closing_, round_, expectations_);
    if (deadline < absl::InfiniteFuture()) {
      told.closes_in = std::max(deadline - now, absl::ZeroDuration());
    }
  } else if (version_ == 0) {
    told.num_live_workers = num_live_gradient();
    told.needed_live_workers = closing_.min_workers;
  }
}

}  // namespace talweg::core
