// SPDX-License-Identifier: Apache-2.0
//
// Whole powers by repeated squaring, with O(log exponent) multiplications. This replaces `pow`,
// whose last bit differs between mathematics libraries.
#pragma once

#include <cstdint>

namespace talweg::core {

// base^exponent for base in [0, 1]; it is 1 if the exponent is 0. The error is at most about
// `exponent` units in the last place. The result is 0 if the power is too small for a double.
inline double WholePower(double base, uint64_t exponent) {
  double power = 1;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) power *= base;
    base *= base;
  }
  return power;
}

}  // namespace talweg::core
