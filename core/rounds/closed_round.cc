// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/closed_round.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace talweg::core {
namespace {

// The members' places in the order of their workers' names.
std::vector<uint32_t> ByWorker(const std::vector<RoundMember>& members) {
  std::vector<uint32_t> order(members.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return members[a].worker < members[b].worker; });
  return order;
}

}  // namespace

ClosedRound Close(OpenRound&& round, OpenStatistics&& statistics, uint64_t serial, uint64_t version,
                  double total_weight, const Configure& config, Missing missing, absl::Time now) {
  const size_t count = round.members.size();
  ClosedRound closed;
  closed.serial = serial;

  StepReport& report = closed.report;
  report.learning_rate = config.schedule.LearningRate(version);
  report.staleness = round.staleness;
  report.contributors = static_cast<uint32_t>(count);
  const RoundLoss::Told told = round.loss.Value(config.aggregation);
  report.loss = told.loss;
  report.num_losses_left_out = told.num_left_out;
  report.total_weight = total_weight;
  report.num_late = static_cast<uint32_t>(missing.late.count);
  report.late_workers = missing.late.names;
  report.num_expired = static_cast<uint32_t>(missing.expired.count);
  report.expired_workers = missing.expired.names;
  report.num_abstained = static_cast<uint32_t>(round.abstained.count);
  report.abstained_workers = round.abstained.names;

  StepOrder& order = closed.order;
  order.number = version;
  order.learning_rate = report.learning_rate;
  order.contributors = report.contributors;
  order.total_weight = total_weight;
  const AggregationConfig& aggregation = config.aggregation;
  if (aggregation.reduce_order == ReduceOrder::kByWorker) order.by_worker = ByWorker(round.members);
  if (aggregation.reduction == Reduction::kTrimmedMean) {
    order.trim = static_cast<uint32_t>(aggregation.NumTrimmed(count));
  }

  order.num_statistics = static_cast<uint32_t>(statistics.members.size());
  order.num_samples = static_cast<double>(statistics.num_samples);
  order.loss_change = round.loss_change;

  auto record = std::make_shared<VersionRecord>();
  record->version = version;
  record->config_version = config.config_version;
  record->opened = round.first;
  record->closed = now;
  record->members = std::move(round.members);
  record->total_weight = total_weight;
  record->num_late = report.num_late;
  record->late_workers = std::move(missing.late.names);
  record->num_expired = report.num_expired;
  record->expired_workers = std::move(missing.expired.names);
  record->num_abstained = report.num_abstained;
  record->abstained_workers = std::move(round.abstained.names);
  record->statistics = std::move(statistics.members);
  record->installed_inverses = statistics.installed_inverses;
  record->loss_change = round.loss_change;
  closed.record = std::move(record);
  closed.places = std::move(round.places);
  closed.bystanders = std::move(round.bystanders);
  closed.abstainers = std::move(round.abstainers);
  closed.statistics = std::move(statistics.places);
  return closed;
}

}  // namespace talweg::core
