// SPDX-License-Identifier: Apache-2.0
//
// What the open round waits for, as a person asks.
#include <algorithm>
#include <utility>

#include "core/rounds/closing_rule.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {
namespace {

bool WillNotCount(const Worker& worker) {
  if (worker.left) return false;
  return worker.pending.will_not_count || (worker.held && IsRefusal(worker.settled.verdict));
}

}  // namespace

// Describes the open round of one machine at `now`.
class RoundDescriber {
 public:
  RoundDescriber(const RoundMachine& machine, absl::Time now) : machine_(machine), now_(now) {}
  std::optional<RoundDescription> Describe() const;

 private:
  void DescribeSynchronous(RoundDescription& told) const;

  const RoundMachine& machine_;
  const absl::Time now_;
};

std::optional<RoundDescription> RoundDescriber::Describe() const {
  RoundDescription told;
  told.version = machine_.version_ + 1;
  told.mode = machine_.aggregation().mode;
  told.config_version = machine_.policy_.close_config_version();
  told.num_contributions = machine_.round_.members.size();
  told.weight = machine_.round_.weight.Value();
  std::vector<std::string> contributed;
  for (const RoundMember& member : machine_.round_.members) contributed.push_back(member.worker);
  told.contributed = ListOf(std::move(contributed));
  told.abstained = machine_.round_.abstained;
  if (!machine_.round_.members.empty()) told.open_for = now_ - machine_.round_.first;
  if (machine_.aggregation().synchronous()) {
    DescribeSynchronous(told);
  } else if (machine_.policy_.bounded()) {
    told.needed_contributions = 1;
    // Only the slowest are waited for, and only while an answer is held.
    if (machine_.clocks_.HoldsAnybody(machine_.workers_.table())) {
      told.expected = ListOf(machine_.workers_.table(), [this](const Worker& worker) {
        return worker.counted && worker.clock == machine_.clocks_.least();
      });
    }
  } else {
    told.needed_contributions = machine_.aggregation().gradient_accumulation_steps;
  }
  if (!machine_.round_.has_begun() && told.expected.count == 0) return std::nullopt;
  told.will_not_count = ListOf(machine_.workers_.table(), WillNotCount);
  return told;
}

void RoundDescriber::DescribeSynchronous(RoundDescription& told) const {
  told.close = machine_.closing().close;
  told.too_few = machine_.closing().too_few;
  told.needed_contributions = NeededContributions(machine_.closing());
  told.needed_weight = machine_.closing().close_weight;
  if (machine_.expectations_.frozen()) {
    told.frozen_for = now_ - machine_.expectations_.frozen_at();
    told.expected = machine_.expectations_.Expected(machine_.workers_.table());
    told.late = machine_.expectations_.Late(machine_.workers_.table());
    const absl::Time deadline =
        CloseDeadline(machine_.closing(), machine_.round_, machine_.expectations_);
    if (deadline < absl::InfiniteFuture()) {
      told.closes_in = std::max(deadline - now_, absl::ZeroDuration());
    }
  } else if (machine_.version() == 0) {
    told.num_live_workers = machine_.num_live_gradient();
    told.needed_live_workers = machine_.closing().min_workers;
  }
}

std::optional<RoundDescription> RoundMachine::DescribeRound(absl::Time now) const {
  return RoundDescriber(*this, std::max(now, now_)).Describe();
}

}  // namespace talweg::core
