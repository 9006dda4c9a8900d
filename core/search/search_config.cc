// SPDX-License-Identifier: Apache-2.0
#include "core/search/search_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/schedules/power.h"

namespace talweg::core {
namespace {

absl::Status Bad(absl::string_view field, absl::string_view why) {
  return MakeError(Reason::kFieldOutOfRange, absl::StrCat(field, " ", why), field);
}

// What the method, or another field, does not use must not be set.
absl::Status CheckUses(const SearchConfig& config) {
  const SearchConfig defaults;
  const bool searches = config.searches();
  const bool is_strategy = config.method == SearchMethod::kEvolutionStrategy;
  const bool weighs = searches && !config.keeps_best();
  const bool one_sided = weighs && config.told_differences() == Differences::kOneSided;
  const bool low_rank = searches && config.perturbation == PerturbationKind::kLowRank;
  const bool derivative = config.told_differences() == Differences::kDirectional;
  constexpr absl::string_view kSearch = "a method";
  const struct {
    bool set, used;
    absl::string_view field, where;
  } uses[] = {
      {config.seed != 0, searches, "seed", kSearch},
      {config.noise != defaults.noise, searches, "noise", kSearch},
      {config.perturbation != defaults.perturbation, searches, "perturbation", kSearch},
      {config.rank != 0, low_rank, "rank", "perturbation LOW_RANK"},
      {config.num_pairs != defaults.num_pairs, searches, "num_pairs", kSearch},
      {config.sigma != defaults.sigma, searches, "sigma", kSearch},
      {config.sigma_decay != 1, searches, "sigma_decay", kSearch},
      {config.sigma_limit != 0, searches, "sigma_limit", kSearch},
      {config.differences != defaults.differences, is_strategy, "differences",
       "method EVOLUTION_STRATEGY"},
      {config.baseline != Baseline::kNone, one_sided, "baseline",
       "differences ONE_SIDED or acceptance LOSS_WEIGHTED"},
      {config.acceptance != defaults.acceptance, config.method == SearchMethod::kRandomSearch,
       "acceptance", "method RANDOM_SEARCH"},
      {config.shaping != Shaping::kNone, weighs && !derivative, "shaping",
       "losses that are weighed, not with IF_BETTER or DIRECTIONAL"},
      {config.direction != defaults.direction, searches, "direction", kSearch},
      {config.close != defaults.close, searches, "close", kSearch},
      {config.close_pairs != 0, config.close == GenerationClose::kCount, "close_pairs",
       "close COUNT"},
      {config.close_seconds != 0, config.close == GenerationClose::kDeadline, "close_seconds",
       "close DEADLINE"},
      {config.evaluation_seconds != defaults.evaluation_seconds, searches, "evaluation_seconds",
       kSearch},
      {config.max_failures != defaults.max_failures, searches, "max_failures", kSearch},
      {config.max_lost_leases != defaults.max_lost_leases, searches, "max_lost_leases", kSearch},
      {config.non_finite == NonFinitePolicy::kWorst, config.shaping == Shaping::kCenteredRanks,
       "non_finite", "shaping CENTERED_RANKS, if it is WORST"},
      {config.non_finite == NonFinitePolicy::kRetry, searches, "non_finite", kSearch},
      {config.evaluate_every != 0, searches && !config.needs_evaluation(), "evaluate_every",
       "a method that does not evaluate the parameters in every generation"},
      {config.max_generations != 0, searches, "max_generations", kSearch},
  };
  for (const auto& use : uses) {
    if (use.set && !use.used) return Bad(use.field, absl::StrCat("is used only with ", use.where));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SearchConfig::Validate() const {
  TALWEG_RETURN_IF_ERROR(CheckUses(*this));
  if (perturbation == PerturbationKind::kLowRank && rank == 0) {
    return Bad("rank", "is 0, allowed with perturbation LOW_RANK: >= 1");
  }
  if (close == GenerationClose::kCount && (close_pairs == 0 || close_pairs > num_pairs)) {
    return Bad("close_pairs", absl::StrCat("is ", close_pairs, ", allowed with close COUNT: 1 to ",
                                           "num_pairs, ", num_pairs));
  }
  if (close == GenerationClose::kDeadline && close_seconds == 0) {
    return Bad("close_seconds", "is 0, allowed with close DEADLINE: > 0");
  }
  if (std::max(sigma_limit, sigma) < kSmallestSigma) {
    return Bad("sigma", absl::StrCat("is ", sigma, ", allowed without a larger sigma_limit: >= ",
                                     kSmallestSigma, ", the smallest float32 with all its digits"));
  }
  const bool compares = baseline == Baseline::kMean || shaping != Shaping::kNone;
  if (num_pairs == 1 && told_differences() == Differences::kOneSided && compares) {
    return Bad("num_pairs", "is 1, so there is no other loss to compare with: >= 2");
  }
  return absl::OkStatus();
}

absl::string_view SearchConfig::NeededBy(absl::string_view name) const {
  const bool is_strategy = method == SearchMethod::kEvolutionStrategy;
  const struct {
    absl::string_view field;
    bool needed;
    absl::string_view by;
  } needs[] = {
      {"rank", perturbation == PerturbationKind::kLowRank, "perturbation LOW_RANK"},
      {"close_pairs", close == GenerationClose::kCount, "close COUNT"},
      {"close_seconds", close == GenerationClose::kDeadline, "close DEADLINE"},
      {"baseline", is_strategy && differences == Differences::kOneSided, "differences ONE_SIDED"},
      {"baseline", method == SearchMethod::kRandomSearch && acceptance == Acceptance::kLossWeighted,
       "acceptance LOSS_WEIGHTED"},
      {"scale", shaping != Shaping::kNone && scale == EstimateScale::kTutorial && !keeps_best(),
       "shaping under the scale TUTORIAL, which is the default with gradient_descent"},
  };
  for (const auto& need : needs) {
    if (need.field == name && need.needed) return need.by;
  }
  return "";
}

float SearchConfig::SigmaAt(uint64_t version) const {
  return static_cast<float>(
      std::max({sigma_limit, sigma * WholePower(sigma_decay, version), kSmallestSigma}));
}

uint64_t SearchConfig::MemoryBytes() const {
  if (!searches()) return 0;
  // Two losses, a holder, two counts and a state; a float32 weight and a number once they
  // are weighed. Of these there are two: the generation that is open and the one that closes.
  constexpr uint64_t kBytesPerPair = 2 * sizeof(double) + 4 * sizeof(uint32_t) + sizeof(uint64_t);
  return 2 * num_pairs * kBytesPerPair + kRecordBytes;
}

}  // namespace talweg::core
