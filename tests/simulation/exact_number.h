// SPDX-License-Identifier: Apache-2.0
//
// A sum of doubles without any rounding: one long two's complement integer in units of 2^-1152, as
// plain as can be. The reference counts with it, so that it shares no arithmetic with core.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace talweg::simulation {

class ExactNumber {
 public:
  // `x` is finite.
  void Add(double x);

  // Rounded once: to the nearest double, and to the even one of two as near. +0 for zero.
  double Value() const;

 private:
  static constexpr int kUnit = -1152;   // exponent of the lowest bit
  static constexpr size_t kLimbs = 38;  // up to 2^1280, the sign included

  std::array<uint64_t, kLimbs> limbs_ = {};  // the lowest first
};

}  // namespace talweg::simulation
