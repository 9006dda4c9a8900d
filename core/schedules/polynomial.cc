// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/polynomial.h"

#include <algorithm>

#include "core/schedules/power.h"

namespace talweg::core {

double PolynomialDecay::At(DecayPoint point) const {
  const uint64_t total = point.StepsToEnd(total_steps);
  const uint64_t left = total - std::min(point.SincePeak(), total);
  const double share = static_cast<double>(left) / static_cast<double>(total);
  return final_fraction + (1 - final_fraction) * WholePower(share, power);
}

}  // namespace talweg::core
