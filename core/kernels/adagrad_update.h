// SPDX-License-Identifier: Apache-2.0
//
// One step of AdaGrad over a span, in one pass: 20 bytes of traffic per element.
//
//   v <- v + g^2
//   to <- keep from - (rate g) / (sqrt(v + inside) + outside)
//
// g and v saturate (core/kernels/saturation.h): a finite gradient leaves v finite.
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

struct AdagradCoefficients {
  float rate;             // learning rate
  float inside, outside;  // epsilon, one of them: > 0; the other: 0
  float keep = 1;         // share of the parameters kept
};

// All spans have one length. `to` is `from` itself or does not overlap it; nothing else overlaps.
// `stores` says how `to` is written.
void AdagradUpdate(const AdagradCoefficients& coefficients, Stores stores,
                   absl::Span<const float> gradient, absl::Span<const float> from,
                   absl::Span<float> to, absl::Span<float> v);

}  // namespace talweg::core
