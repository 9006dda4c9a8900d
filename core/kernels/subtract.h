// SPDX-License-Identifier: Apache-2.0
//
// to <- a - b, element by element in float32: 12 bytes of traffic per element.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/stores.h"

namespace talweg::core {

// All spans have one length. `to` may be `a` or `b`; otherwise nothing overlaps. `stores` says how
// `to` is written.
void Subtract(Stores stores, absl::Span<const float> a, absl::Span<const float> b,
              absl::Span<float> to);

}  // namespace talweg::core
