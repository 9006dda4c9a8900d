// SPDX-License-Identifier: Apache-2.0
#include "core/search/fitness_shaping.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "core/base/check.h"

namespace talweg::core {
namespace {

double MeanOf(absl::Span<const double> losses) {
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum / static_cast<double>(losses.size());
}

// Of the population.
double VarianceOf(absl::Span<const double> losses, double mean) {
  double sum = 0;
  for (const double loss : losses) sum += (loss - mean) * (loss - mean);
  return sum / static_cast<double>(losses.size());
}

ShapedLosses KeepBest(const ToldLosses& told, absl::Span<const double> losses, double evaluated) {
  const auto best = std::min_element(losses.begin(), losses.end());
  // Not `>=`: an evaluated loss that is not a number keeps the parameters as they are.
  if (!(*best < evaluated)) return {};
  ShapedLosses kept;
  kept.kept_pair = told.pairs[static_cast<size_t>(best - losses.begin())];
  return kept;
}

bool AllEqual(absl::Span<const double> losses) {
  return std::all_of(losses.begin(), losses.end(),
                     [&](double loss) { return loss == losses.front(); });
}

double ScaleOf(const SearchConfig& config, double sigma, double n) {
  const bool tutorial = config.scale == EstimateScale::kTutorial;
  if (config.told_differences() == Differences::kDirectional) {
    return tutorial ? sigma * sigma / n : 1.0 / n;
  }
  return tutorial ? sigma / n : 1.0 / (n * sigma);
}

double BaselineOf(const SearchConfig& config, absl::Span<const double> losses, double evaluated) {
  switch (config.baseline) {
    case Baseline::kNone:
      return 0;
    case Baseline::kMean:
      return MeanOf(losses);
    case Baseline::kEvaluated:
      return evaluated;
  }
  return 0;
}

}  // namespace

std::vector<uint32_t> DoubledRanks(absl::Span<const double> losses) {
  std::vector<uint32_t> order(losses.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return losses[a] < losses[b]; });
  std::vector<uint32_t> ranks(losses.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && losses[order[end]] == losses[order[begin]]) ++end;
    for (size_t place = begin; place < end; ++place) {
      ranks[order[place]] = static_cast<uint32_t>(2 * begin + (end - begin - 1));
    }
    begin = end;
  }
  return ranks;
}

ShapedLosses Shape(const SearchConfig& config, const ToldLosses& told) {
  const size_t n = told.pairs.size();
  const bool central = config.told_differences() == Differences::kCentral;
  TALWEG_CHECK(n > 0 && told.losses.size() == n * config.losses_per_pair());
  TALWEG_CHECK(told.evaluated.has_value() || !config.needs_evaluation());
  std::vector<double> losses(told.losses.begin(), told.losses.end());
  double evaluated = told.evaluated.value_or(0);
  if (config.direction == Direction::kMaximize) {
    std::transform(losses.begin(), losses.end(), losses.begin(), std::negate<>());
    evaluated = -evaluated;
  }
  if (config.keeps_best()) return KeepBest(told, losses, evaluated);

  ShapedLosses shaped;
  shaped.factor = ScaleOf(config, static_cast<double>(told.sigma), static_cast<double>(n));
  double baseline = central ? 0 : BaselineOf(config, losses, evaluated);
  if (config.shaping == Shaping::kCenteredRanks) {
    const std::vector<uint32_t> ranks = DoubledRanks(losses);
    std::copy(ranks.begin(), ranks.end(), losses.begin());
    const double last = static_cast<double>(losses.size() - 1);
    baseline = last;
    shaped.factor = last == 0 ? 0 : shaped.factor / ((central ? 4.0 : 2.0) * last);
  } else if (config.shaping == Shaping::kZScore) {
    const double mean = MeanOf(losses);
    const double variance = VarianceOf(losses, mean);
    baseline = mean;
    shaped.factor = variance == 0 || AllEqual(losses) ? 0 : shaped.factor / std::sqrt(variance);
  }
  // The difference of two ranks is taken as it is: their halving is in the factor.
  const double share = config.shaping == Shaping::kCenteredRanks ? 1 : 2;
  shaped.weights.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    const double weight =
        central ? (losses[2 * i] - losses[2 * i + 1]) / share : losses[i] - baseline;
    shaped.weights.push_back({told.pairs[i], static_cast<float>(weight)});
  }
  return shaped;
}

LossSpread SpreadOf(absl::Span<const double> losses) {
  std::vector<double> sorted(losses.begin(), losses.end());
  std::sort(sorted.begin(), sorted.end());
  LossSpread spread;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const bool as_before = i > 0 && sorted[i] == sorted[i - 1];
    const bool as_behind = i + 1 < sorted.size() && sorted[i] == sorted[i + 1];
    if (as_before || as_behind) ++spread.num_ties;
  }
  std::erase_if(sorted, [](double loss) { return std::isinf(loss); });
  spread.num_finite = sorted.size();
  if (sorted.empty()) return spread;
  spread.mean = MeanOf(sorted);
  spread.deviation = std::sqrt(VarianceOf(sorted, spread.mean));
  spread.min = sorted.front();
  spread.max = sorted.back();
  return spread;
}

}  // namespace talweg::core
