// SPDX-License-Identifier: Apache-2.0
//
// Whole powers by repeated squaring: O(log exponent) multiplications, and no `pow`, whose last bit
// differs between mathematics libraries.
#pragma once

#include <cstdint>

namespace talweg::core {

// base^exponent for base in [0, 1]; 1 where the exponent is 0. Within about `exponent` units in the
// last place. Goes to 0 where the power is too small for a double.
inline double WholePower(double base, uint64_t exponent) {
  double power = 1;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power *= base;
    base *= base;
  }
  return power;
}

}  // namespace talweg::core
