// SPDX-License-Identifier: Apache-2.0
//
// One step of Adam over a span, in one pass: 28 bytes of traffic per element, 36 with `v_max`.
//
//   m <- keep_m m + take_m g
//   v <- keep_v v + (take_v g) g
//   v_max <- max(v_max, v)                                        if `v_max` is given
//   to <- keep from - (rate m) / (sqrt(v) root_scale + epsilon)   with v_max for v if given
//
// g and v saturate (core/kernels/saturation.h): a finite gradient leaves m and v finite.
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct AdamCoefficients {
  float keep_m, take_m;  // share of m kept, weight of g in m
  float keep_v, take_v;  // share of v kept, weight of g^2 in v
  float rate;            // learning rate, bias corrections included
  float root_scale;      // factor of sqrt(v)
  float epsilon;         // > 0
  float keep = 1;        // share of the parameters kept
};

// All spans have one length, except that `v_max` may be empty: that is plain Adam. `to` is `from`
// itself or does not overlap it; nothing else overlaps. `stores` says how `to` is written.
void AdamUpdate(const AdamCoefficients& coefficients, Stores stores,
                absl::Span<const float> gradient, absl::Span<const float> from,
                absl::Span<float> to, absl::Span<float> m, absl::Span<float> v,
                absl::Span<float> v_max);

}  // namespace talweg::core
