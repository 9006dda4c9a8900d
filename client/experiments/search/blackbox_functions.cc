// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/blackbox_functions.h"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace talweg {

double Rosenbrock(absl::Span<const float> x) {
  double sum = 0;
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    const double at = x[i];
    const double off_valley = x[i + 1] - at * at;
    sum += 100 * off_valley * off_valley + (1 - at) * (1 - at);
  }
  return sum;
}

double Rastrigin(absl::Span<const float> x) {
  double sum = 0;
  for (const double at : x) sum += at * at + 10 * (1 - std::cos(2 * std::numbers::pi * at));
  return sum;
}

double StepEllipsoid(absl::Span<const float> x) {
  double sum = 0;
  const double last = static_cast<double>(x.size()) - 1;
  const double ratio = std::pow(100, 1 / last);
  double weight = 1;
  for (const double at : x) {
    const double step = std::abs(at) > 0.5 ? std::floor(at + 0.5) : std::floor(10 * at + 0.5) / 10;
    sum += weight * step * step;
    weight *= ratio;
  }
  return sum;
}

absl::Span<const BlackboxFunction> BlackboxFunctions() {
  static constexpr BlackboxFunction kFunctions[] = {
      {"rosenbrock", "Rosenbrock", Rosenbrock, -2, 2},
      {"rastrigin", "Rastrigin", Rastrigin, -4, 4},
      {"step_ellipsoid", "Step ellipsoid", StepEllipsoid, -4, 4},
  };
  return kFunctions;
}

}  // namespace talweg
