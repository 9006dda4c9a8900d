// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/cosine.h"

#include <algorithm>

namespace talweg::core {
namespace {

// sin(x) for x in [0, pi/4]. Coefficients: fdlibm, k_sin.c.
double Sine(double x) {
  const double square = x * x;
  double s = 1.58969099521155010221e-10;
  s = s * square - 2.50507602534068634195e-08;
  s = s * square + 2.75573137070700676789e-06;
  s = s * square - 1.98412698298579493134e-04;
  s = s * square + 8.33333333332248946124e-03;
  s = s * square - 1.66666666666666324348e-01;
  return x + x * square * s;
}

}  // namespace

double HalfCosine(uint64_t taken, uint64_t total) {
  // (1 + cos 2x) / 2 = 1 - sin(x)^2 = sin(pi/2 - x)^2. The nearer end gives a sine of an angle
  // below pi/4, so that a small result near the end keeps all its digits.
  constexpr double kHalfPi = 0x1.921fb54442d18p+0;
  const uint64_t left = total - taken;
  if (taken == left) return 0.5;
  const double share = static_cast<double>(std::min(taken, left)) / static_cast<double>(total);
  const double sine = Sine(kHalfPi * share);
  return taken < left ? 1 - sine * sine : sine * sine;
}

double CosineDecay::At(DecayPoint point) const {
  const uint64_t total = point.StepsToEnd(total_steps);
  const double half = HalfCosine(std::min(point.SincePeak(), total), total);
  return final_fraction + (1 - final_fraction) * half;
}

}  // namespace talweg::core
