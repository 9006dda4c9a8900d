// SPDX-License-Identifier: Apache-2.0
//
// One step of RMSProp over a span, in one pass: 20 bytes of traffic per element, 16 more with
// `last` and `offset`, and 8 more with `m`.
//
//   v <- keep_v v + (take_v g) g
//   step = (take g) / (sqrt(v + inside) + outside)
//   m <- keep_m m + step                             if `m` is given
//   to <- keep from - step                           or, if `m` is given, keep from - move m
//
// With `last` and `offset`, v is the spread of the gradient, v - mean^2 of running averages v and
// mean. Their difference would lose its digits if the gradient hardly changes, and a mean in
// float32 its small changes. So the spread has a recursion of its own, and the mean is known by how
// far the last gradient is from it, `offset` = `last` - mean:
//
//   distance = (g - last) + offset                   g minus the mean before this step
//   v <- keep_v v + (take_spread distance) distance
//   offset <- keep_v distance
//   last <- g
//
// g, v and m saturate (core/kernels/saturation.h): a finite gradient leaves all slots finite.
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct RmspropCoefficients {
  float keep_v, take_v;   // share of v (and mean) kept, weight of g^2
  float take_spread;      // weight of distance^2, keep_v (1 - keep_v); with `last` and `offset`
  float take;             // factor of g in the step
  float inside, outside;  // epsilon, one of them: > 0; the other: 0
  float keep_m = 0;       // share of m kept
  float move = 0;         // factor of m
  float keep = 1;         // share of the parameters kept
};

// All spans have one length, except that `m` may be empty, and so may `last` and `offset` together.
// `to` is `from` itself or does not overlap it; nothing else overlaps. `stores` says how `to` is
// written.
void RmspropUpdate(const RmspropCoefficients& coefficients, Stores stores,
                   absl::Span<const float> gradient, absl::Span<const float> from,
                   absl::Span<float> to, absl::Span<float> v, absl::Span<float> last,
                   absl::Span<float> offset, absl::Span<float> m);

}  // namespace talweg::core
