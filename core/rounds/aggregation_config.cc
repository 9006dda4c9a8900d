// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/aggregation_config.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {
namespace {

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, absl::StrCat(field, " ", why), field);
}

// What the mode or the rule does not use must not be set.
absl::Status CheckUses(const AggregationConfig& config) {
  const bool bounded = config.mode == AggregationMode::kBoundedStaleness;
  const bool synchronous = config.synchronous();
  const bool is_mean = config.reduction == Reduction::kMean;
  const CloseRule close = config.close;
  const struct {
    bool set, used;
    absl::string_view field, where;
  } uses[] = {
      {config.gradient_accumulation_steps != 1, config.mode == AggregationMode::kAsynchronous,
       "gradient_accumulation_steps", "mode ASYNCHRONOUS"},
      {config.max_rounds_ahead != 0, bounded, "max_rounds_ahead", "mode BOUNDED_STALENESS"},
      {close != CloseRule::kAll, synchronous, "close", "mode SYNCHRONOUS"},
      {config.close_count != 0, close == CloseRule::kCount, "close_count", "close COUNT"},
      {config.close_weight != 0, close == CloseRule::kWeight, "close_weight", "close WEIGHT"},
      {config.close_seconds != 0, close == CloseRule::kDeadline, "close_seconds", "close DEADLINE"},
      {config.too_few != TooFew::kWait, close == CloseRule::kCount || close == CloseRule::kWeight,
       "too_few", "close COUNT or WEIGHT"},
      {config.min_workers != 1, synchronous, "min_workers", "mode SYNCHRONOUS"},
      {config.workers_may_close, synchronous, "workers_may_close", "mode SYNCHRONOUS"},
      {config.progress_seconds != 0, config.replies_wait(), "progress_seconds",
       "mode SYNCHRONOUS or BOUNDED_STALENESS"},
      {!is_mean, synchronous, "reduction", "mode SYNCHRONOUS"},
      {config.trim_fraction != 0, config.reduction == Reduction::kTrimmedMean, "trim_fraction",
       "reduction TRIMMED_MEAN"},
      {config.reduce_order != ReduceOrder::kAny, synchronous && is_mean, "reduce_order",
       "mode SYNCHRONOUS and reduction MEAN"},
      {config.stale_scale != StaleScale::kNone,
       config.takes_weights() && config.folds() && config.max_staleness > 0, "stale_scale",
       "weights, several contributions a version, and max_staleness above 0"},
  };
  for (const auto& use : uses) {
    if (use.set && !use.used) return Bad(use.field, absl::StrCat("is used only with ", use.where));
  }
  return absl::OkStatus();
}

// What the mode or the rule needs must have a value that it can use, and fit the rest.
absl::Status CheckNeeds(const AggregationConfig& config) {
  const CloseRule close = config.close;
  if (close == CloseRule::kCount && config.close_count == 0) {
    return Bad("close_count", "is 0, allowed with close COUNT: >= 1");
  }
  if (close == CloseRule::kWeight && config.close_weight == 0) {
    return Bad("close_weight", "is 0, allowed with close WEIGHT: > 0");
  }
  if (close == CloseRule::kWeight && !config.takes_weights()) {
    return Bad("close", "cannot be WEIGHT: the reduction takes no weights");
  }
  if (close == CloseRule::kDeadline && config.close_seconds == 0) {
    return Bad("close_seconds", "is 0, allowed with close DEADLINE: > 0");
  }
  constexpr double kMinProgressSeconds = AggregationConfig::kMinProgressSeconds;
  if (config.progress_seconds > 0 && config.progress_seconds < kMinProgressSeconds) {
    return Bad("progress_seconds",
               absl::StrCat("is ", config.progress_seconds, ", allowed: 0 or at least ",
                            kMinProgressSeconds, ", for each worker is looked at so often"));
  }
  constexpr uint64_t kMaxStagedWorkers = AggregationConfig::kMaxStagedWorkers;
  if (config.stages_all() && (config.max_workers == 0 || config.max_workers > kMaxStagedWorkers)) {
    return Bad("max_workers", absl::StrCat("must be in [1, ", kMaxStagedWorkers,
                                           "] where contributions are staged"));
  }
  const uint64_t limit = config.worker_limit();
  for (const auto& [field, value] : {std::pair{"close_count", config.close_count},
                                     std::pair{"min_workers", config.min_workers}}) {
    if (value > limit) {
      return Bad(field, absl::StrCat("is ", value, ", more than max_workers, ", limit));
    }
  }
  return absl::OkStatus();
}

// A slow worker must not be too old whenever it comes.
absl::Status CheckStarvation(const AggregationConfig& config) {
  // What a worker may be overtaken by while it takes one gradient: each of the others is at most
  // max_rounds_ahead behind it when it begins, and that much ahead, and one more, when it ends.
  if (config.mode == AggregationMode::kBoundedStaleness && config.max_staleness > 0) {
    const uint64_t needed = (config.worker_limit() - 1) * (2 * config.max_rounds_ahead + 1);
    if (config.max_staleness < needed) {
      return Bad("max_staleness",
                 absl::StrCat("is ", config.max_staleness, ": slow workers would starve; ",
                              "at least ", needed, " with these max_workers and ",
                              "max_rounds_ahead, or 0 for no limit"));
    }
  }
  // While one worker takes a gradient, each of the others contributes at least once.
  if (config.mode == AggregationMode::kAsynchronous && config.max_workers > 0) {
    const uint64_t steps = config.gradient_accumulation_steps;
    const uint64_t needed = (config.max_workers - 1 + steps - 1) / steps;
    if (config.max_staleness < needed) {
      return Bad("max_staleness",
                 absl::StrCat("is ", config.max_staleness, ": slow workers would starve; at least ",
                              needed, " with these max_workers and gradient_accumulation_steps"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AggregationConfig::Validate() const {
  TALWEG_RETURN_IF_ERROR(CheckUses(*this));
  TALWEG_RETURN_IF_ERROR(CheckNeeds(*this));
  return CheckStarvation(*this);
}

absl::string_view AggregationConfig::NeededBy(absl::string_view name) const {
  const struct {
    absl::string_view field;
    bool needed;
    absl::string_view by;
  } needs[] = {
      {"close_count", close == CloseRule::kCount, "close COUNT"},
      {"close_weight", close == CloseRule::kWeight, "close WEIGHT"},
      {"close_seconds", close == CloseRule::kDeadline, "close DEADLINE"},
      {"trim_fraction", reduction == Reduction::kTrimmedMean, "reduction TRIMMED_MEAN"},
      {"max_workers", reduction == Reduction::kTrimmedMean, "reduction TRIMMED_MEAN"},
      {"max_workers", reduction == Reduction::kMedian, "reduction MEDIAN"},
      {"max_workers", reduce_order == ReduceOrder::kByWorker, "reduce_order BY_WORKER"},
  };
  for (const auto& need : needs) {
    if (need.field == name && need.needed) return need.by;
  }
  return "";
}

size_t AggregationConfig::NumTrimmed(size_t count) const {
  return static_cast<size_t>(std::floor(trim_fraction * static_cast<double>(count)));
}

uint64_t AggregationConfig::RoundBytes(uint64_t num_elements) const {
  if (!folds()) return 0;
  if (stages_all()) return num_elements * sizeof(float) * (max_workers + 1);
  return num_elements * (2 * sizeof(double) + sizeof(float));
}

}  // namespace talweg::core
