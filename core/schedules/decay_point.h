// SPDX-License-Identifier: Apache-2.0
//
// Where a step stands in the decay of a rate.
#pragma once

#include <algorithm>
#include <cstdint>

namespace talweg::core {

struct DecayPoint {
  uint64_t step = 1;  // t, counted from 1; at least `peak`
  uint64_t peak = 1;  // p = max(warmup_steps, 1): the step that has the whole rate, >= 1

  // u = t - p: the steps since the peak.
  uint64_t SincePeak() const { return step - peak; }
  // n = T + 1 - p: the steps from the peak to the end of a decay that ends after step T =
  // `total_steps`. It is 1 if the warm-up is longer, so that the rate is then at its end one step
  // after the peak.
  uint64_t StepsToEnd(uint64_t total_steps) const {
    return std::max(total_steps, peak) - (peak - 1);
  }
};

}  // namespace talweg::core
