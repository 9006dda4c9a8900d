// SPDX-License-Identifier: Apache-2.0
//
// What is done to a gradient before the method sees it: 12 bytes of traffic per element, 8 without
// decay.
//
//   to <- min(max(factor g, -max_value), max_value) + decay w    without the sum if decay is 0
//
// A sum that overflows becomes the largest finite number (core/kernels/saturation.h).
//
// All arithmetic is in float32: each operation is rounded once, none is fused, and denormals are
// kept. So the bits are the same on every Highway target and for any cut of the vector.
#pragma once

#include <limits>

#include "absl/types/span.h"

namespace talweg::core {

struct GradientPreparation {
  float factor = 1;                                     // of clipping by norm
  float max_value = std::numeric_limits<float>::max();  // of an element
  float decay = 0;                                      // coupled weight decay

  bool IsIdentity() const {
    return factor == 1 && max_value == std::numeric_limits<float>::max() && decay == 0;
  }
};

// All spans have one length; `gradient` is finite. `to` may be `gradient`; nothing else overlaps.
void PrepareGradient(const GradientPreparation& preparation, absl::Span<const float> gradient,
                     absl::Span<const float> w, absl::Span<float> to);

}  // namespace talweg::core
