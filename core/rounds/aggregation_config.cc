// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/aggregation_config.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::core {
namespace {

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, absl::StrCat(field, " ", why), field);
}

}  // namespace

absl::Status AggregationConfig::Validate() const {
  const bool bounded = mode == AggregationMode::kBoundedStaleness;
  const auto only_in = [](bool set, bool used, absl::string_view field, absl::string_view where) {
    return set && !used ? Bad(field, absl::StrCat("is used only with ", where)) : absl::OkStatus();
  };
  const struct {
    bool set, used;
    absl::string_view field, where;
  } uses[] = {
      {gradient_accumulation_steps != 1, mode == AggregationMode::kAsynchronous,
       "gradient_accumulation_steps", "mode ASYNCHRONOUS"},
      {max_rounds_ahead != 0, bounded, "max_rounds_ahead", "mode BOUNDED_STALENESS"},
      {close != CloseRule::kAll, synchronous(), "close", "mode SYNCHRONOUS"},
      {close_count != 0, close == CloseRule::kCount, "close_count", "close COUNT"},
      {close_weight != 0, close == CloseRule::kWeight, "close_weight", "close WEIGHT"},
      {close_seconds != 0, close == CloseRule::kDeadline, "close_seconds", "close DEADLINE"},
      {too_few != TooFew::kWait, close == CloseRule::kCount || close == CloseRule::kWeight,
       "too_few", "close COUNT or WEIGHT"},
      {min_workers != 1, synchronous(), "min_workers", "mode SYNCHRONOUS"},
      {progress_seconds != 0, replies_wait(), "progress_seconds",
       "mode SYNCHRONOUS or BOUNDED_STALENESS"},
      {reduction != Reduction::kMean, synchronous(), "reduction", "mode SYNCHRONOUS"},
      {trim_fraction != 0, reduction == Reduction::kTrimmedMean, "trim_fraction",
       "reduction TRIMMED_MEAN"},
      {reduce_order != ReduceOrder::kAny, synchronous() && reduction == Reduction::kMean,
       "reduce_order", "mode SYNCHRONOUS and reduction MEAN"},
      {stale_scale != StaleScale::kNone, takes_weights() && folds() && max_staleness > 0,
       "stale_scale", "weights, several contributions a version, and max_staleness above 0"},
  };
  for (const auto& use : uses) {
    const absl::Status status = only_in(use.set, use.used, use.field, use.where);
    if (!status.ok()) return status;
  }
  if (close == CloseRule::kCount && close_count == 0) return Bad("close_count", "is required");
  if (close == CloseRule::kWeight && close_weight == 0) return Bad("close_weight", "is required");
  if (close == CloseRule::kWeight && !takes_weights()) {
    return Bad("close", "cannot be WEIGHT: the reduction takes no weights");
  }
  if (close == CloseRule::kDeadline && close_seconds == 0) {
    return Bad("close_seconds", "is required");
  }
  if (progress_seconds > 0 && progress_seconds < kMinProgressSeconds) {
    return Bad("progress_seconds",
               absl::StrCat("is ", progress_seconds, ", allowed: 0 or at least ",
                            kMinProgressSeconds, ", for each worker is looked at so often"));
  }
  if (reduction == Reduction::kTrimmedMean && trim_fraction == 0) {
    return Bad("trim_fraction", "is required");
  }
  if (stages_all() && (max_workers == 0 || max_workers > kMaxStagedWorkers)) {
    return Bad("max_workers", absl::StrCat("must be in [1, ", kMaxStagedWorkers,
                                           "] where contributions are staged"));
  }
  for (const auto& [field, value] :
       {std::pair{"close_count", close_count}, std::pair{"min_workers", min_workers}}) {
    if (value > worker_limit()) {
      return Bad(field, absl::StrCat("is ", value, ", more than max_workers, ", worker_limit()));
    }
  }
  // What a worker may be overtaken by while it takes one gradient: each of the others is at most
  // max_rounds_ahead behind it when it begins, and that much ahead, and one more, when it ends.
  if (bounded && max_staleness > 0) {
    const uint64_t needed = (worker_limit() - 1) * (2 * max_rounds_ahead + 1);
    if (max_staleness < needed) {
      return Bad(
          "max_staleness",
          absl::StrCat("is ", max_staleness, ": slow workers would starve; ", "at least ", needed,
                       " with these max_workers and ", "max_rounds_ahead, or 0 for no limit"));
    }
  }
  // While one worker takes a gradient, each of the others contributes at least once.
  if (mode == AggregationMode::kAsynchronous && max_workers > 0) {
    const uint64_t steps = gradient_accumulation_steps;
    const uint64_t needed = (max_workers - 1 + steps - 1) / steps;
    if (max_staleness < needed) {
      return Bad("max_staleness",
                 absl::StrCat("is ", max_staleness, ": slow workers would starve; at least ",
                              needed, " with these max_workers and gradient_accumulation_steps"));
    }
  }
  return absl::OkStatus();
}

uint64_t AggregationConfig::RoundBytes(uint64_t num_elements) const {
  if (!folds()) return 0;
  if (stages_all()) return num_elements * sizeof(float) * (max_workers + 1);
  return num_elements * (2 * sizeof(double) + sizeof(float));
}

}  // namespace talweg::core
