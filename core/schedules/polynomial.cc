// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/polynomial.h"

#include <algorithm>

#include "core/schedules/power.h"

namespace talweg::core {

double PolynomialDecay::At(uint64_t step) const {
  const uint64_t left = total_steps - std::min(step - 1, total_steps);
  const double share = static_cast<double>(left) / static_cast<double>(total_steps);
  return final_fraction + (1 - final_fraction) * WholePower(share, power);
}

}  // namespace talweg::core
