// SPDX-License-Identifier: Apache-2.0
//
// Constant: the rate does not fall.
//
//   decay(t) = 1
#pragma once

#include <tuple>

#include "core/schedules/decay_point.h"

namespace talweg::core {

struct ConstantDecay {
  static auto Fields() { return std::tuple{}; }

  double At(DecayPoint /*point*/) const { return 1; }
};

}  // namespace talweg::core
