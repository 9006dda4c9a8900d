// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/expansion.h"

#include <bit>
#include <cmath>
#include <limits>

namespace talweg::core {
namespace {

constexpr int kDigitBits = 32;
constexpr int64_t kDigitMask = 0xffffffff;
constexpr int kSmallestExponent = -1074;      // of the lowest bit of digit 0
constexpr uint32_t kMostUncarried = 1 << 16;  // each adds less than 2^33 to a digit of 63 bits

// Leaves every digit but the last in [0, 2^32). The sign of the last is that of the number.
template <class Digits>
void Carry(Digits& digits) {
  for (size_t k = 0; k + 1 < digits.size(); ++k) {
    digits[k + 1] += digits[k] >> kDigitBits;
    digits[k] &= kDigitMask;
  }
}

}  // namespace

void ExactSum::Add(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  const uint64_t biased_exponent = bits >> 52 & 0x7ff;
  if (biased_exponent == 0x7ff) {
    finite_ = false;
    return;
  }
  uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  uint64_t position = 0;  // of the mantissa's lowest bit
  if (biased_exponent > 0) {
    mantissa |= uint64_t{1} << 52;
    position = biased_exponent - 1;
  }
  const size_t k = position / kDigitBits;
  const uint64_t shift = position % kDigitBits;
  const uint64_t low = (mantissa & kDigitMask) << shift;
  const uint64_t high = (mantissa >> kDigitBits) << shift;
  const auto digit = static_cast<int64_t>(low & kDigitMask);
  const auto next = static_cast<int64_t>((low >> kDigitBits) + (high & kDigitMask));
  const auto last = static_cast<int64_t>(high >> kDigitBits);
  const int64_t sign = (bits >> 63) != 0 ? -1 : 1;
  digits_[k] += sign * digit;
  digits_[k + 1] += sign * next;
  digits_[k + 2] += sign * last;
  if (++uncarried_ == kMostUncarried) {
    Carry(digits_);
    uncarried_ = 0;
  }
}

double ExactSum::Value() const {
  if (!finite_) return std::numeric_limits<double>::quiet_NaN();
  std::array<int64_t, kDigits> digits = digits_;
  Carry(digits);
  const bool negative = digits.back() < 0;
  if (negative) {
    for (int64_t& digit : digits) digit = -digit;
    Carry(digits);
  }
  size_t top = kDigits;
  while (top > 0 && digits[top - 1] == 0) --top;
  if (top == 0) return 0;
  --top;
  // The 64 bits that begin with the highest one, and whether there is more below them.
  const auto digit_below = [&](size_t k) {
    return top >= k ? static_cast<uint64_t>(digits[top - k]) : uint64_t{0};
  };
  uint64_t leading = digit_below(0) << kDigitBits | digit_below(1);
  const int zeros = std::countl_zero(leading);
  const uint64_t third = digit_below(2) << zeros;
  leading = leading << zeros | third >> kDigitBits;
  bool more = (third & kDigitMask) != 0;
  for (size_t k = 3; k <= top && !more; ++k) more = digit_below(k) != 0;

  uint64_t mantissa = leading >> 11;
  const bool half = (leading >> 10 & 1) != 0;
  more = more || (leading & 0x3ff) != 0;
  if (half && (more || (mantissa & 1) != 0)) ++mantissa;
  const int exponent =
      static_cast<int>(top) * kDigitBits + kDigitBits - 1 - zeros - 52 + kSmallestExponent;
  const double magnitude = std::ldexp(static_cast<double>(mantissa), exponent);
  return negative ? -magnitude : magnitude;
}

double RoundExact(absl::Span<const double> terms) {
  ExactSum sum;
  for (const double term : terms) sum.Add(term);
  return sum.Value();
}

}  // namespace talweg::core
