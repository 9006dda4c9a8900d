// SPDX-License-Identifier: Apache-2.0
//
// How a session searches: what is perturbed, what is told of a perturbation, what a loss weighs,
// and when a generation closes. The message SearchPolicy in proto/talweg/v1/search.proto says what
// each field means; the names are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/field.h"

namespace talweg::core {

enum class SearchMethod : uint8_t { kNone, kEvolutionStrategy, kRandomSearch };
enum class SearchNoise : uint8_t { kNormal, kRademacher };
enum class PerturbationKind : uint8_t { kDense, kLowRank };
enum class Differences : uint8_t { kCentral, kOneSided, kDirectional };
enum class Baseline : uint8_t { kNone, kMean, kEvaluated };
enum class Acceptance : uint8_t { kIfBetter, kLossWeighted };
enum class Shaping : uint8_t { kNone, kCenteredRanks, kZScore };
enum class EstimateScale : uint8_t { kTutorial, kGradient };
enum class Direction : uint8_t { kMinimize, kMaximize };
enum class GenerationClose : uint8_t { kAll, kCount, kDeadline };
enum class NonFinitePolicy : uint8_t { kDrop, kRetry, kWorst };

struct SearchConfig {
  static constexpr uint64_t kMaxPairs = 131072;
  static constexpr uint64_t kMaxRank = 64;
  // A loss of a larger absolute value counts as infinite: no sum of 64 pairs of rank 64 overflows
  // float32 (1e30 times 64 times 64 times the square of the largest normal, 6.8, is 2e35).
  static constexpr double kLargestLoss = 1e30;

  SearchMethod method = SearchMethod::kNone;
  uint64_t seed = 0;
  SearchNoise noise = SearchNoise::kNormal;
  PerturbationKind perturbation = PerturbationKind::kDense;
  uint64_t rank = 0;  // of kLowRank
  uint64_t num_pairs = 32;
  double sigma = 0.01;  // at version 0
  double sigma_decay = 1;
  double sigma_limit = 0;
  Differences differences = Differences::kCentral;
  Baseline baseline = Baseline::kNone;
  Acceptance acceptance = Acceptance::kIfBetter;
  Shaping shaping = Shaping::kNone;
  EstimateScale scale = EstimateScale::kTutorial;
  Direction direction = Direction::kMinimize;
  GenerationClose close = GenerationClose::kAll;
  uint64_t close_pairs = 0;
  double close_seconds = 0;
  double evaluation_seconds = 60;
  uint64_t max_failures = 3;
  uint64_t max_lost_leases = 16;
  NonFinitePolicy non_finite = NonFinitePolicy::kDrop;
  uint64_t evaluate_every = 0;   // versions; 0: never
  uint64_t max_generations = 0;  // 0: the search never finishes

  static constexpr absl::string_view kMethods[] = {"NONE", "EVOLUTION_STRATEGY", "RANDOM_SEARCH"};
  static constexpr absl::string_view kNoises[] = {"NORMAL", "RADEMACHER"};
  static constexpr absl::string_view kPerturbations[] = {"DENSE", "LOW_RANK"};
  static constexpr absl::string_view kDifferences[] = {"CENTRAL", "ONE_SIDED", "DIRECTIONAL"};
  static constexpr absl::string_view kBaselines[] = {"NONE", "MEAN", "EVALUATED"};
  static constexpr absl::string_view kAcceptances[] = {"IF_BETTER", "LOSS_WEIGHTED"};
  static constexpr absl::string_view kShapings[] = {"NONE", "CENTERED_RANKS", "Z_SCORE"};
  static constexpr absl::string_view kScales[] = {"TUTORIAL", "GRADIENT"};
  static constexpr absl::string_view kDirections[] = {"MINIMIZE", "MAXIMIZE"};
  static constexpr absl::string_view kCloses[] = {"ALL", "COUNT", "DEADLINE"};
  static constexpr absl::string_view kNonFinites[] = {"DROP", "RETRY", "WORST"};

  static auto Fields() {
    using C = SearchConfig;
    return std::tuple{
        ChoiceField<C, SearchMethod>{"method", &C::method, kMethods, Change::kFixed},
        Field<C, uint64_t>{"seed", &C::seed, Closed(0, kLargestSeed), Change::kFixed},
        ChoiceField<C, SearchNoise>{"noise", &C::noise, kNoises, Change::kFixed},
        ChoiceField<C, PerturbationKind>{"perturbation", &C::perturbation, kPerturbations,
                                         Change::kFixed},
        Field<C, uint64_t>{"rank", &C::rank, Closed(0, kMaxRank), Change::kFixed},
        Field<C, uint64_t>{"num_pairs", &C::num_pairs, Closed(1, kMaxPairs)},
        Field<C, double>{"sigma", &C::sigma, OpenClosed(0, kLargestSigma)},
        Field<C, double>{"sigma_decay", &C::sigma_decay, OpenClosed(0, 1)},
        Field<C, double>{"sigma_limit", &C::sigma_limit, Closed(0, kLargestSigma)},
        ChoiceField<C, Differences>{"differences", &C::differences, kDifferences, Change::kFixed},
        ChoiceField<C, Baseline>{"baseline", &C::baseline, kBaselines},
        ChoiceField<C, Acceptance>{"acceptance", &C::acceptance, kAcceptances, Change::kFixed},
        ChoiceField<C, Shaping>{"shaping", &C::shaping, kShapings},
        ChoiceField<C, EstimateScale>{"scale", &C::scale, kScales},
        ChoiceField<C, Direction>{"direction", &C::direction, kDirections, Change::kFixed},
        ChoiceField<C, GenerationClose>{"close", &C::close, kCloses},
        Field<C, uint64_t>{"close_pairs", &C::close_pairs, Closed(0, kMaxPairs)},
        Field<C, double>{"close_seconds", &C::close_seconds, Closed(0, 86400)},
        Field<C, double>{"evaluation_seconds", &C::evaluation_seconds, Closed(0.05, 86400)},
        Field<C, uint64_t>{"max_failures", &C::max_failures, Closed(1, 1000)},
        Field<C, uint64_t>{"max_lost_leases", &C::max_lost_leases, Closed(1, 1000)},
        ChoiceField<C, NonFinitePolicy>{"non_finite", &C::non_finite, kNonFinites},
        Field<C, uint64_t>{"evaluate_every", &C::evaluate_every, Closed(0, 1e9)},
        Field<C, uint64_t>{"max_generations", &C::max_generations, Closed(0, 1e9)}};
  }

  // Fails with FIELD_OUT_OF_RANGE, naming the field, if the method or another field does not use a
  // field that is not at its default, or if fields contradict each other.
  absl::Status Validate() const;
  // What makes a client say the field `name`, because no default would be a good guess; empty if
  // nothing does.
  absl::string_view NeededBy(absl::string_view name) const;

  bool searches() const { return method != SearchMethod::kNone; }
  // Random search that keeps the best perturbation, if it is better than none.
  bool keeps_best() const {
    return method == SearchMethod::kRandomSearch && acceptance == Acceptance::kIfBetter;
  }
  // What is told of a pair: random search is told one loss.
  Differences told_differences() const {
    return method == SearchMethod::kRandomSearch ? Differences::kOneSided : differences;
  }
  size_t losses_per_pair() const { return told_differences() == Differences::kCentral ? 2 : 1; }
  // Whether a step needs the loss at the parameters themselves.
  bool needs_evaluation() const { return keeps_best() || baseline == Baseline::kEvaluated; }
  // Whether the loss at the parameters of `version` is to be told.
  bool evaluates(uint64_t version) const {
    return needs_evaluation() || (evaluate_every > 0 && version % evaluate_every == 0);
  }
  // What a loss that is not finite counts as with kWorst: worse than every finite loss.
  double WorstLoss() const {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return direction == Direction::kMaximize ? -kInfinity : kInfinity;
  }
  // sigma of the generation that is evaluated at `version`:
  // max(sigma_limit, sigma sigma_decay^version, 2^-126), the power by repeated squaring in double.
  // 2^-126 is the smallest float32 with all its digits; an estimate is divided by sigma.
  float SigmaAt(uint64_t version) const;
  bool IsFinishedAt(uint64_t version) const {
    return max_generations > 0 && version >= max_generations;
  }

  // Bytes that a session needs because it searches: the losses and states of an open generation, of
  // one that closes, and records of generations.
  uint64_t MemoryBytes() const;
  // How many bytes of records of generations may be kept.
  static constexpr uint64_t kRecordBytes = uint64_t{4} << 20;

 private:
  static constexpr double kLargestSigma = 1e30;
  static constexpr double kSmallestSigma = 0x1p-126;
  static constexpr double kLargestSeed = 0x1p53 - 1;  // A float64 holds it exactly.
};

}  // namespace talweg::core
