// SPDX-License-Identifier: Apache-2.0
//
// Numbers that are computed once per step are computed in double, and are rounded once, here, to
// the float32 that the kernels take.
#pragma once

#include <algorithm>
#include <limits>

#include "core/optimizers/optimizer.h"

namespace talweg::core {

// The nearest float32, and the largest finite one instead of an infinity.
inline float ToFloat(double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLargest, kLargest));
}

// The same for the epsilon (> 0) of a divisor, which must not become 0: the result is at least the
// smallest normal float32, 1.2e-38.
inline float ToEpsilon(double value) {
  return std::max(ToFloat(value), std::numeric_limits<float>::min());
}

// The share of the parameters that decoupled decay leaves.
inline float KeepOf(const StepRates& rates) {
  return ToFloat(1 - rates.learning_rate * rates.decay);
}

}  // namespace talweg::core
