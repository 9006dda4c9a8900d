// SPDX-License-Identifier: Apache-2.0
//
// Fits y = factor * t^slope to a curve: a straight line on paper with two logarithmic axes.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace talweg {

struct PowerLaw {
  double slope = 0;
  double factor = 0;

  double operator()(double t) const;
};

// Least squares of log y on log t for t in [first, last]; `values[t - 1]` > 0 belongs to t. Each t
// has the weight 1/t, so that every decade of t counts alike. Needs at least two points.
PowerLaw FitPowerLaw(absl::Span<const double> values, uint64_t first, uint64_t last);

}  // namespace talweg
