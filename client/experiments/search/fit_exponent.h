// SPDX-License-Identifier: Apache-2.0
//
// The exponent of the power law y = c x^k that fits a few points best: a straight line on paper
// with two logarithmic axes.
#pragma once

#include "absl/types/span.h"

namespace talweg {

// Least squares of log y on log x; every point counts alike. `x` and `y` have one size and are
// above 0; two of the x differ.
double FitExponent(absl::Span<const double> x, absl::Span<const double> y);

}  // namespace talweg
