// SPDX-License-Identifier: Apache-2.0
//
// The first half of a step of LAMB over a span, in one pass: 28 bytes of traffic per element.
//
//   m <- keep_m m + take_m g
//   v <- keep_v v + (take_v g) g
//   to <- (m_scale m) / (sqrt(v) root_scale + epsilon) + decay from     the direction r
//
// It also sums the squares of `from` and of r in double, in the order of squared_norm.h. The second
// half, from - (rate times the ratio of the norms) r, is GradientDescentUpdate with r as the
// gradient.
//
// g and v saturate (core/kernels/saturation.h): a finite gradient leaves m and v finite.
//
// All arithmetic except the sums is in float32: each operation is rounded once, none is fused, and
// denormals are kept. So the bits are the same on every Highway target and, except for the sums,
// for any cut of the vector, as long as no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct LambCoefficients {
  float keep_m, take_m;  // share of m kept, weight of g in m
  float keep_v, take_v;  // share of v kept, weight of g^2 in v
  float m_scale;         // bias correction of m
  float root_scale;      // bias correction of sqrt(v)
  float epsilon;         // > 0
  float decay;           // share of the parameters in r
};

struct LambSums {
  double parameters = 0;  // of squares of `from`
  double direction = 0;   // of squares of r
};

// All spans have one length; nothing overlaps. `stores` says how `to` is written.
LambSums LambDirection(const LambCoefficients& coefficients, Stores stores,
                       absl::Span<const float> gradient, absl::Span<const float> from,
                       absl::Span<float> to, absl::Span<float> m, absl::Span<float> v);

}  // namespace talweg::core
