// SPDX-License-Identifier: Apache-2.0
//
// Inverse square root: the rate at which stochastic gradient descent on a convex function has an
// error of order 1 / sqrt(t).
//
//   decay(t) = sqrt(p / t),  p = max(warmup_steps, 1)
//
// Without warm-up this is 1 / sqrt(t).
//
// Source: Zinkevich, "Online convex programming and generalized infinitesimal gradient ascent",
// ICML 2003, theorem 1. With warm-up: transformers, get_inverse_sqrt_schedule.
#pragma once

#include <cmath>
#include <tuple>

#include "core/schedules/decay_point.h"

namespace talweg::core {

struct InverseSqrtDecay {
  static auto Fields() { return std::tuple{}; }

  double At(DecayPoint point) const {
    return std::sqrt(static_cast<double>(point.peak)) / std::sqrt(static_cast<double>(point.step));
  }
};

}  // namespace talweg::core
