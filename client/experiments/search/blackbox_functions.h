// SPDX-License-Identifier: Apache-2.0
//
// Functions on which methods without gradients are compared. Each is 0 at its minimum.
//
//   Rosenbrock      sum_{i<d} 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2        a curved valley; at (1,
//   ...) Rastrigin       sum_i x_i^2 - 10 cos(2 pi x_i) + 10                    a minimum near
//   every whole
//                                                                          point; at 0
//   step ellipsoid  sum_i 10^(2 (i-1) / (d-1)) s(x_i)^2                    flat steps, no gradient
//                   s(x) = floor(x + 1/2) if |x| > 1/2, else               anywhere; 0 around 0
//                   floor(10 x + 1/2) / 10
//
// Sources: Rosenbrock 1960; Rastrigin 1974, in the form of Muehlenbein et al. 1991; f7 of the BBOB
// functions (Hansen, Finck, Ros, Auger 2009) without its rotations and its slope.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// For at least two dimensions.
double Rosenbrock(absl::Span<const float> x);
double Rastrigin(absl::Span<const float> x);
double StepEllipsoid(absl::Span<const float> x);

struct BlackboxFunction {
  absl::string_view name;   // "rosenbrock"
  absl::string_view title;  // "Rosenbrock"
  double (*value)(absl::Span<const float> x);
  double low, high;  // between which the coordinates of the first point are drawn
};
// All of them.
absl::Span<const BlackboxFunction> BlackboxFunctions();

}  // namespace talweg
