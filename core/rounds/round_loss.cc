// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/round_loss.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace talweg::core {
namespace {

// Brings every weight, and every sum of weights, to 1 or below. A power of two changes no bit of a
// quotient.
constexpr double kScale = 0x1p-192;

// The upper half of a double: 24 bits, so that its product with a float32 is exact.
double UpperHalf(double x) {
  constexpr uint64_t kLowerBits = (uint64_t{1} << 29) - 1;
  return std::bit_cast<double>(std::bit_cast<uint64_t>(x) & ~kLowerBits);
}

}  // namespace

void RoundLoss::Add(double loss, float weight, Reduction reduction) {
  if (!std::isfinite(loss)) {
    ++num_infinite_;
    infinite_sum_ += loss;
    // There is one NaN for all, because its bits are saved.
    if (std::isnan(infinite_sum_)) infinite_sum_ = std::nan("");
    return;
  }
  if (num_finite_++ == 0) first_ = loss;
  if (reduction != Reduction::kMean) return losses_.push_back(loss);
  const double scaled = static_cast<double>(weight) * kScale;
  const double upper = UpperHalf(loss);
  weighted_.Add(scaled * upper);
  weighted_.Add(scaled * (loss - upper));
  weight_.Add(scaled);
}

RoundLoss::Told RoundLoss::Value(const AggregationConfig& config) const {
  if (num_finite_ > 0) return {Reduced(config), num_infinite_};
  if (num_infinite_ > 0) return {infinite_sum_, 0};
  return {};
}

double RoundLoss::Reduced(const AggregationConfig& config) const {
  if (num_finite_ == 1) return first_;
  if (config.reduction == Reduction::kMean) return weighted_.Value() / weight_.Value();
  std::vector<double> sorted = losses_;
  std::sort(sorted.begin(), sorted.end());
  const size_t count = sorted.size();
  const bool is_median = config.reduction == Reduction::kMedian;
  const size_t trim = is_median ? (count - 1) / 2 : config.NumTrimmed(count);
  ExactSum sum;
  for (size_t index = trim; index < count - trim; ++index) sum.Add(sorted[index]);
  return sum.Value() / static_cast<double>(count - 2 * trim);
}

}  // namespace talweg::core
