// SPDX-License-Identifier: Apache-2.0
//
// One step of gradient descent over a span: 12 bytes of traffic per element.
//
//   to <- keep from - rate g
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector, as long as
// no result is NaN.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

// All spans have one length. `to` may be `from` or `gradient`; nothing else overlaps. `stores` says
// how `to` is written; `keep` is the share of the parameters kept.
void GradientDescentUpdate(float keep, float rate, Stores stores, absl::Span<const float> gradient,
                           absl::Span<const float> from, absl::Span<float> to);

}  // namespace talweg::core
