// SPDX-License-Identifier: Apache-2.0
//
// One step of Lion over a span, in one pass: 20 bytes of traffic per element.
//
//   to <- keep from - rate sign(blend_m m + blend_g g)    sign(0) = 0, with the old m
//   m <- keep_m m + take_m g
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

struct LionCoefficients {
  float blend_m, blend_g;  // weights of the old m and of the gradient in the direction
  float keep_m, take_m;    // share of m kept, weight of the gradient in m
  float rate;              // how far every element moves
  float keep = 1;          // share of the parameters kept
};

// All spans have one length. `to` is `from` itself or does not overlap it; nothing else overlaps.
// `stores` says how `to` is written.
void LionUpdate(const LionCoefficients& coefficients, Stores stores,
                absl::Span<const float> gradient, absl::Span<const float> from,
                absl::Span<float> to, absl::Span<float> m);

}  // namespace talweg::core
