// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/expansion.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace talweg::core {
namespace {

constexpr int kDigitBits = 32;
constexpr int64_t kDigitMask = 0xffffffff;
constexpr int kSmallestExponent = -1074;      // of the lowest bit of digit 0
constexpr uint32_t kMostUncarried = 1 << 16;  // each adds less than 2^33 to a digit of 63 bits

}  // namespace

void ExactSum::Carry(Digits& digits, size_t begin, size_t end) {
  for (size_t k = begin; k + 1 < end; ++k) {
    digits[k + 1] += digits[k] >> kDigitBits;
    digits[k] &= kDigitMask;
  }
}

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
  begin_ = std::min(begin_, k);
  end_ = std::max(end_, k + 3);
  if (++uncarried_ == kMostUncarried) {
    end_ = std::min(end_ + 1, kDigits);
    Carry(digits_, begin_, end_);
    uncarried_ = 0;
  }
}

double ExactSum::Value() const {
  if (!finite_) return std::numeric_limits<double>::quiet_NaN();
  if (end_ == 0) return 0;
  Digits digits = digits_;
  // What is carried needs less than a digit.
  const size_t end = std::min(end_ + 1, kDigits);
  Carry(digits, begin_, end);
  const bool negative = digits[end - 1] < 0;
  if (negative) {
    for (size_t k = begin_; k < end; ++k) digits[k] = -digits[k];
    Carry(digits, begin_, end);
  }
  size_t top = end;
  while (top > begin_ && digits[top - 1] == 0) --top;
  if (top == begin_) return 0;
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
  for (size_t k = 3; k <= top - begin_ && !more; ++k) more = digit_below(k) != 0;

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
