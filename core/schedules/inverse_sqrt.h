// SPDX-License-Identifier: Apache-2.0
//
// Inverse square root: the rate at which stochastic gradient descent on a convex function has an
// error of order 1 / sqrt(t).
//
//   decay(t) = 1 / sqrt(t)
//
// Source: Zinkevich, "Online convex programming and generalized infinitesimal gradient ascent",
// ICML 2003, theorem 1.
#pragma once

#include <cmath>
#include <cstdint>
#include <tuple>

namespace talweg::core {

struct InverseSqrtDecay {
  static auto Fields() { return std::tuple{}; }

  double At(uint64_t step) const { return 1 / std::sqrt(static_cast<double>(step)); }
};

}  // namespace talweg::core
