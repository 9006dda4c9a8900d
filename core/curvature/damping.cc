// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/damping.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace talweg::core {
namespace {

constexpr double kLargestPi = 0x1p20;

bool HasSize(const FactorSize& factor) { return std::isfinite(factor.trace) && factor.trace > 0; }

}  // namespace

double PiOf(PiRule rule, FactorSize inputs, FactorSize outputs) {
  TALWEG_CHECK(inputs.rows > 0 && outputs.rows > 0);
  if (rule == PiRule::kOff || !HasSize(inputs) || !HasSize(outputs)) return 1;
  // Each mean has its root taken first: their quotient may be beyond a double.
  const double root_inputs = std::sqrt(inputs.trace / static_cast<double>(inputs.rows));
  const double root_outputs = std::sqrt(outputs.trace / static_cast<double>(outputs.rows));
  return std::clamp(root_inputs / root_outputs, 1 / kLargestPi, kLargestPi);
}

FactorDamping ShareDamping(double lambda, double pi) {
  TALWEG_CHECK(lambda >= 0 && std::isfinite(lambda) && pi > 0);
  const double root = std::sqrt(lambda);
  return {root * pi, root / pi};
}

}  // namespace talweg::core
