// SPDX-License-Identifier: Apache-2.0
//
// One step of RMSProp over a span, in one pass: 20 bytes of traffic per element, 8 more with `mean`
// and 8 more with `m`.
//
//   v <- keep_v v + (take_v g) g
//   mean <- keep_v mean + take_v g                   if `mean` is given
//   spread = v, or max(v - mean^2, 0) if `mean` is given
//   step = (take g) / (sqrt(spread + inside) + outside)
//   m <- keep_m m + step                             if `m` is given
//   to <- keep from - step                           or, if `m` is given, keep from - move m
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct RmspropCoefficients {
  float keep_v, take_v;   // share of v (and mean) kept, weight of g^2 (of g)
  float take;             // factor of g in the step
  float inside, outside;  // epsilon, one of them: > 0; the other: 0
  float keep_m = 0;       // share of m kept
  float move = 0;         // factor of m
  float keep = 1;         // share of the parameters kept
};

// All spans have one length, except that `mean` and `m` may be empty. `to` is `from` itself or does
// not overlap it; nothing else overlaps. `stores` says how `to` is written.
void RmspropUpdate(const RmspropCoefficients& coefficients, Stores stores,
                   absl::Span<const float> gradient, absl::Span<const float> from,
                   absl::Span<float> to, absl::Span<float> v, absl::Span<float> mean,
                   absl::Span<float> m);

}  // namespace talweg::core
