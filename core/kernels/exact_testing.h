// SPDX-License-Identifier: Apache-2.0
//
// For tests only: the correctly rounded sum of doubles by another algorithm than ours, in floating
// point: J. Shewchuk's growing expansions with the half-way case of CPython's math.fsum.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace talweg::core {

// The caller's terms are such that intermediate sums are far from overflow.
inline double ReferenceSum(const std::vector<double>& terms) {
  std::vector<double> partials;  // do not overlap, smallest first
  for (double x : terms) {
    size_t kept = 0;
    for (double y : partials) {
      if (std::abs(x) < std::abs(y)) std::swap(x, y);
      const double high = x + y;
      const double low = y - (high - x);
      if (low != 0) partials[kept++] = low;
      x = high;
    }
    partials.resize(kept);
    partials.push_back(x);
  }
  if (partials.empty()) return 0;
  size_t n = partials.size();
  double high = partials[--n];
  double low = 0;
  while (n > 0) {
    const double x = high;
    const double y = partials[--n];
    high = x + y;
    low = y - (high - x);
    if (low != 0) break;
  }
  // Half-way between two doubles so far: what is below decides.
  if (n > 0 && ((low < 0 && partials[n - 1] < 0) || (low > 0 && partials[n - 1] > 0))) {
    const double twice = low * 2;
    const double next = high + twice;
    if (twice == next - high) high = next;
  }
  return high + 0.0;  // no -0
}

}  // namespace talweg::core
