// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/exact_number.h"

#include <bit>
#include <cmath>

#include "core/base/check.h"

namespace talweg::simulation {

void ExactNumber::Add(double x) {
  if (x == 0) return;
  TALWEG_CHECK(std::isfinite(x));
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(x), &exponent);
  const auto digits = static_cast<uint64_t>(std::ldexp(fraction, 53));
  const int shift = exponent - 53 - kUnit;
  const size_t limb = static_cast<size_t>(shift) / 64;
  const int bit = shift % 64;
  // The 53 bits where they belong, in two limbs; the rest of the number is carries.
  const uint64_t low = digits << bit;
  const uint64_t high = bit == 0 ? 0 : digits >> (64 - bit);
  uint64_t carry = 0;
  for (size_t index = limb; index < kLimbs; ++index) {
    const uint64_t term = index == limb ? low : index == limb + 1 ? high : 0;
    if (index > limb + 1 && carry == 0) break;
    const unsigned __int128 old = limbs_[index];
    if (x > 0) {
      const unsigned __int128 sum = old + term + carry;
      limbs_[index] = static_cast<uint64_t>(sum);
      carry = static_cast<uint64_t>(sum >> 64);
    } else {
      const unsigned __int128 difference = old - term - carry;
      limbs_[index] = static_cast<uint64_t>(difference);
      carry = (difference >> 64) != 0 ? 1 : 0;
    }
  }
}

double ExactNumber::Value() const {
  std::array<uint64_t, kLimbs> magnitude = limbs_;
  const bool negative = (limbs_.back() >> 63) != 0;
  if (negative) {
    uint64_t carry = 1;
    for (uint64_t& limb : magnitude) {
      limb = ~limb + carry;
      carry = carry != 0 && limb == 0 ? 1 : 0;
    }
  }
  size_t top = kLimbs;
  while (top > 0 && magnitude[top - 1] == 0) --top;
  if (top == 0) return 0;
  const auto bit_at = [&](int bit) {
    return bit >= 0 && (magnitude[static_cast<size_t>(bit) / 64] >> (bit % 64) & 1) != 0;
  };
  const int highest = static_cast<int>(top * 64) - 1 - std::countl_zero(magnitude[top - 1]);
  // The lowest bit that a double of this size has: its 53rd, or that of the smallest doubles.
  const int lowest = std::max(highest - 52, -1074 - kUnit);
  uint64_t digits = 0;
  for (int bit = highest; bit >= lowest; --bit) digits = digits * 2 + (bit_at(bit) ? 1 : 0);
  if (bit_at(lowest - 1)) {
    bool more_than_half = false;
    for (int bit = lowest - 2; bit >= 0 && !more_than_half; --bit) more_than_half = bit_at(bit);
    if (more_than_half || digits % 2 == 1) ++digits;
  }
  const double value = std::ldexp(static_cast<double>(digits), lowest + kUnit);
  return negative ? -value : value;
}

}  // namespace talweg::simulation
