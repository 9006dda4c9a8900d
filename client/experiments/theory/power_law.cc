// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/power_law.h"

#include <cmath>

namespace talweg {

double PowerLaw::operator()(double t) const { return factor * std::pow(t, slope); }

PowerLaw FitPowerLaw(absl::Span<const double> values, uint64_t first, uint64_t last) {
  double weights = 0;
  double x_mean = 0;
  double y_mean = 0;
  for (uint64_t t = first; t <= last; ++t) {
    const double weight = 1 / static_cast<double>(t);
    weights += weight;
    x_mean += weight * std::log(static_cast<double>(t));
    y_mean += weight * std::log(values[t - 1]);
  }
  x_mean /= weights;
  y_mean /= weights;
  double xx = 0;
  double xy = 0;
  for (uint64_t t = first; t <= last; ++t) {
    const double weight = 1 / static_cast<double>(t);
    const double x = std::log(static_cast<double>(t)) - x_mean;
    xx += weight * x * x;
    xy += weight * x * (std::log(values[t - 1]) - y_mean);
  }
  const double slope = xy / xx;
  return {slope, std::exp(y_mean - slope * x_mean)};
}

}  // namespace talweg
