// SPDX-License-Identifier: Apache-2.0
//
// One step of Nesterov's momentum over a span, in one pass: 20 bytes of traffic per element.
//
//   m <- keep_m m + take g
//   to <- keep from + move (step_m m + step_g g)
//
// m stays finite: an infinity becomes the largest finite number (core/kernels/saturation.h).
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct NesterovCoefficients {
  float keep_m;          // share of m kept
  float take;            // weight of the gradient in m
  float step_m, step_g;  // weights of the new m and of the gradient in the step
  float move;            // factor of the step, with its sign
  float keep = 1;        // share of the parameters kept
};

// All spans have one length. `to` is `from` itself or does not overlap it; nothing else overlaps.
// `stores` says how `to` is written.
void NesterovUpdate(const NesterovCoefficients& coefficients, Stores stores,
                    absl::Span<const float> gradient, absl::Span<const float> from,
                    absl::Span<float> to, absl::Span<float> m);

}  // namespace talweg::core
