// SPDX-License-Identifier: Apache-2.0
//
// A sum of doubles as its whole binary expansion. It is exact, and so it is the same for every
// order.
//
//   sum = Sum_k digit_k 2^(32 k - 1074)
//
// Every double is a multiple of 2^-1074 below 2^1024. The digits are signed 64-bit integers that
// take 32 bits each, so that a number is added by three integer additions, and carries wait until
// the value is asked for. Rounding happens once, at the end.
//
// Source: U. Kulisch, "Computer Arithmetic and Validity" (2008), the complete accumulator; radix
// and late carries as in R. Neal, arXiv:1505.05571. It takes 568 bytes. An addition costs a few
// nanoseconds; a value costs one or two for each digit between the largest and the smallest number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace talweg::core {

// Thread-compatible. Holds up to 2^64 numbers.
class ExactSum {
 public:
  // Once an infinity or a NaN has come, the value is NaN for good.
  void Add(double x);

  // The sum, correctly rounded: to the nearest double, or to the even one of two that are equally
  // near. It is infinite if the sum is beyond all doubles; a sum of zero is +0.
  double Value() const;

 private:
  static constexpr size_t kDigits = 68;  // 2098 bits of doubles, 64 for their number, a sign
  using Digits = std::array<int64_t, kDigits>;

  // Leaves digits [begin, end - 1) in [0, 2^32); the sign of the last digit is the sign of the
  // number. All other digits are zero.
  static void Carry(Digits& digits, size_t begin, size_t end);

  Digits digits_ = {};
  size_t begin_ = kDigits, end_ = 0;  // all other digits are 0
  uint32_t uncarried_ = 0;            // numbers added since the digits were last below 2^32
  bool finite_ = true;
};

// The exact sum of `terms`, rounded as ExactSum::Value().
double RoundExact(absl::Span<const double> terms);

}  // namespace talweg::core
