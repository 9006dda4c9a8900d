// SPDX-License-Identifier: Apache-2.0
//
// The versions of a SearchModel: which losses count, and the parameters that a plain loop makes of
// them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/search_model.h"

namespace talweg::simulation {
namespace {

// The formulas of proto/NOISE.md.
struct Weighed {
  std::vector<core::PairWeight> weights;
  double factor = 0;
  std::optional<uint32_t> kept;
};
Weighed Weigh(const core::SearchConfig& config, double sigma, const std::vector<uint32_t>& pairs,
              std::vector<double> losses, std::optional<double> evaluated) {
  if (config.direction == core::Direction::kMaximize) {
    for (double& loss : losses) loss = -loss;
    if (evaluated.has_value()) evaluated = -*evaluated;
  }
  Weighed weighed;
  const bool central = config.losses_per_pair() == 2;
  if (config.keeps_best()) {
    size_t best = 0;
    for (size_t i = 1; i < losses.size(); ++i) best = losses[i] < losses[best] ? i : best;
    if (losses[best] < *evaluated) weighed.kept = pairs[best];
    return weighed;
  }
  const auto n = static_cast<double>(pairs.size());
  const bool tutorial = config.scale == core::EstimateScale::kTutorial;
  weighed.factor = tutorial ? sigma / n : 1.0 / (n * sigma);
  const size_t count = losses.size();
  double sum = 0;
  for (const double loss : losses) sum += loss;
  const double mean = sum / static_cast<double>(count);
  double from = 0;
  if (config.baseline == core::Baseline::kMean) from = mean;
  if (config.baseline == core::Baseline::kEvaluated) from = *evaluated;
  double half = 2;
  if (config.shaping == core::Shaping::kCenteredRanks) {
    std::vector<double> ranks(count);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < count; ++j) {
        ranks[i] += losses[j] < losses[i] ? 2 : losses[j] == losses[i] && i != j ? 1 : 0;
      }
    }
    losses = ranks;
    from = static_cast<double>(count - 1);
    half = 1;
    weighed.factor = count == 1 ? 0 : weighed.factor / ((central ? 4.0 : 2.0) * from);
  } else if (config.shaping == core::Shaping::kZScore) {
    double squares = 0;
    for (const double loss : losses) squares += (loss - mean) * (loss - mean);
    const double variance = squares / static_cast<double>(count);
    const bool same = std::all_of(losses.begin(), losses.end(),
                                  [&](double loss) { return loss == losses.front(); });
    weighed.factor = same || variance == 0 ? 0 : weighed.factor / std::sqrt(variance);
    from = mean;
  }
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double weight = central ? (losses[2 * i] - losses[2 * i + 1]) / half : losses[i] - from;
    weighed.weights.push_back({pairs[i], static_cast<float>(weight)});
  }
  return weighed;
}

}  // namespace

void SearchModel::On(const core::StepTaken& /*taken*/, const server::Decision& decision) {
  if (decision.search->made == nullptr) return Violate("record_wrong", "there is no record");
  CheckRecord(*decision.search->made);
  TakeReferenceStep();
  ++known_.version;
  const auto values = decision.session.parameters()->values.span();
  Check(
      values.size() == known_.parameters.size() &&
          std::memcmp(values.data(), known_.parameters.data(), values.size() * sizeof(float)) == 0,
      "parameters_differ", absl::StrCat("version ", known_.version));
  OpenNext();
  ServeWaiting(*decision.search);
  CheckNext(decision.search->next, teller_, std::exchange(capacity_, 0));
}

void SearchModel::CheckRecord(const core::GenerationRecord& record) {
  std::vector<uint32_t> pairs;
  std::vector<double> losses;
  for (uint32_t i = 0; i < known_.pairs.size(); ++i) {
    if (!known_.pairs[i].losses.has_value()) continue;
    pairs.push_back(i);
    losses.insert(losses.end(), known_.pairs[i].losses->begin(), known_.pairs[i].losses->end());
  }
  num_counted_ += pairs.size();
  Check(record.pairs == pairs, "pairs_wrong",
        absl::StrCat(absl::StrJoin(record.pairs, " "), " counted, expected ",
                     absl::StrJoin(pairs, " ")));
  Check(record.losses == losses, "losses_wrong",
        absl::StrCat(absl::StrJoin(record.losses, " "), " counted, expected ",
                     absl::StrJoin(losses, " ")));
  std::optional<double> evaluated;
  if (known_.evaluation.has_value() && known_.evaluation->losses.has_value()) {
    evaluated = known_.evaluation->losses->front();
  }
  Check(record.evaluated == evaluated && record.version == known_.version + 1 &&
            record.generation == known_.generation && record.num_pairs == known_.pairs.size() &&
            record.config_version == known_.settings.config_version &&
            record.learning_rate == known_.settings.learning_rate &&
            record.sigma == known_.settings.search.SigmaAt(known_.version),
        "record_wrong", absl::StrCat("record of version ", record.version));
}

void SearchModel::TakeReferenceStep() {
  std::vector<uint32_t> pairs;
  std::vector<double> losses;
  for (uint32_t i = 0; i < known_.pairs.size(); ++i) {
    if (!known_.pairs[i].losses.has_value()) continue;
    pairs.push_back(i);
    losses.insert(losses.end(), known_.pairs[i].losses->begin(), known_.pairs[i].losses->end());
  }
  std::optional<double> evaluated;
  if (known_.evaluation.has_value() && known_.evaluation->losses.has_value()) {
    evaluated = known_.evaluation->losses->front();
  }
  const float sigma = known_.settings.search.SigmaAt(known_.version);
  const Weighed weighed =
      Weigh(known_.settings.search, static_cast<double>(sigma), pairs, losses, evaluated);
  const auto eta = static_cast<float>(known_.settings.learning_rate);
  for (size_t i = 0; i < known_.parameters.size(); ++i) {
    float g = 0;
    if (weighed.kept.has_value()) {
      g = -perturbation_.Displacement({known_.generation, *weighed.kept}, sigma, i);
    } else if (!weighed.weights.empty()) {
      g = perturbation_.Estimate(known_.generation, weighed.weights, weighed.factor, i);
    }
    const float step = eta * g;
    known_.parameters[i] = known_.parameters[i] - step;
  }
}

}  // namespace talweg::simulation
