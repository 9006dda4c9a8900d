// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/open_round.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace talweg::core {

float OpenRound::WeightOf(const Contribution& contribution, uint64_t staleness_of_it,
                          const AggregationConfig& config) {
  if (config.stale_scale != StaleScale::kInverse) return contribution.weight;
  const double scaled = static_cast<double>(contribution.weight) / (1.0 + staleness_of_it);
  return std::max(static_cast<float>(scaled), std::numeric_limits<float>::denorm_min());
}

void OpenRound::Add(uint32_t index, const Contribution& contribution, float counted_weight,
                    uint64_t staleness_of_it, Reduction reduction, absl::Time now) {
  if (members.empty()) first = now;
  members.push_back({contribution.worker, contribution.incarnation, contribution.sequence,
                     contribution.base_version, counted_weight, now});
  places.push_back({index, contribution.digest});
  staleness = std::max(staleness, staleness_of_it);
  weight.Add(counted_weight);
  asked_to_close |= contribution.closes_round;
  if (contribution.loss.has_value()) loss.Add(*contribution.loss, counted_weight, reduction);
  // Not the first that came: the order of arrival makes no difference.
  if (contribution.loss_change.has_value() &&
      (!loss_change.has_value() || contribution.worker < loss_change_by)) {
    loss_change = contribution.loss_change;
    loss_change_by = contribution.worker;
  }
}

void OpenRound::NoteAbstention(const std::string& worker) {
  ++abstained.count;
  std::vector<std::string>& names = abstained.names;
  const auto place = std::lower_bound(names.begin(), names.end(), worker);
  if (place != names.end() && *place == worker) return;
  names.insert(place, worker);
  if (names.size() > kMaxLateNames) names.pop_back();
}

void OpenRound::AddBystander(uint32_t index, const Workers& workers) {
  // Compact the list once duplicates and departed workers outnumber the rest.
  if (bystanders.size() > 2 * workers.size() + 16) {
    const auto key = [](const Bystander& one) { return std::tuple(one.index, one.incarnation); };
    std::sort(bystanders.begin(), bystanders.end(),
              [&](const Bystander& a, const Bystander& b) { return key(a) < key(b); });
    bystanders.erase(
        std::unique(bystanders.begin(), bystanders.end(),
                    [&](const Bystander& a, const Bystander& b) { return key(a) == key(b); }),
        bystanders.end());
    std::erase_if(bystanders, [&](const Bystander& one) {
      return workers[one.index].incarnation != one.incarnation;
    });
  }
  bystanders.push_back({index, workers[index].incarnation});
}

void OpenRound::Unfold(uint64_t incarnation) {
  for (const RoundMember& member : members) {
    if (member.incarnation == incarnation) weight.Add(-member.weight);
  }
}

bool OpenRound::IsFull(const AggregationConfig& config) const {
  return members.size() >=
         (config.stages_all() ? config.worker_limit() : AggregationConfig::kMaxWorkers);
}

ContributionSettled OutcomeOf(const Worker& worker) {
  const Member::Settled& settled = worker.settled;
  return {worker.name,    worker.incarnation, settled.sequence,
          settled.digest, settled.verdict,    settled.version};
}

}  // namespace talweg::core
