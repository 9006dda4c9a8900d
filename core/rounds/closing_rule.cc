// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/closing_rule.h"

#include <algorithm>
#include <tuple>

namespace talweg::core {
namespace {

auto ClosingFields(AggregationConfig& config) {
  return std::tie(config.close, config.close_count, config.close_weight, config.close_seconds,
                  config.too_few, config.min_workers, config.progress_seconds,
                  config.workers_may_close);
}

}  // namespace

AggregationConfig WithClosingRule(const AggregationConfig& base, const AggregationConfig& other) {
  AggregationConfig changed = base;
  AggregationConfig from = other;
  ClosingFields(changed) = ClosingFields(from);
  return changed;
}

bool SameClosingRule(const AggregationConfig& a, const AggregationConfig& b) {
  AggregationConfig one = a;
  AggregationConfig two = b;
  return ClosingFields(one) == ClosingFields(two);
}

uint64_t NeededContributions(const AggregationConfig& config) {
  return std::min(config.close_count, config.worker_limit());
}

bool MustClose(const AggregationConfig& config, const OpenRound& round,
               const Expectations& expectations, absl::Time now) {
  const size_t count = round.members.size();
  if (count == 0) {
    return AbstainersMayGo(round, expectations) ||
           (round.has_begun() && expectations.frozen() && round.asked_to_close);
  }
  if (config.mode == AggregationMode::kBoundedStaleness) return true;
  if (config.mode == AggregationMode::kAsynchronous) {
    return count >= config.gradient_accumulation_steps || round.asked_to_close;
  }
  if (!expectations.frozen()) return false;
  if (round.asked_to_close) return true;
  const bool nobody_expected = expectations.outstanding() == 0;
  const bool too_few_closes = nobody_expected && config.too_few == TooFew::kClose;
  switch (config.close) {
    case CloseRule::kAll:
      return nobody_expected;
    case CloseRule::kCount:
      return count + round.abstainers.size() >= NeededContributions(config) || too_few_closes;
    case CloseRule::kWeight:
      return round.weight.Value() >= config.close_weight || round.IsFull(config) || too_few_closes;
    case CloseRule::kDeadline:
      return nobody_expected || now >= CloseDeadline(config, round, expectations);
  }
  return false;
}

absl::Time CloseDeadline(const AggregationConfig& config, const OpenRound& round,
                         const Expectations& expectations) {
  if (!expectations.frozen() || round.members.empty() || config.close != CloseRule::kDeadline) {
    return absl::InfiniteFuture();
  }
  return round.first + absl::Seconds(config.close_seconds);
}

}  // namespace talweg::core
