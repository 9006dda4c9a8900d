// SPDX-License-Identifier: Apache-2.0
//
// One step of a running average: 20 bytes of traffic per element.
//
//   average + low <- average + low + take (w - (average + low))
//
// `average` is the nearest float32 to the average, and `low` is what it lacks. Without `low`, steps
// below half a unit in the last place of the average would be lost: a take of 1e-5 would never see
// a difference of less than 6e-3 of w. With both, differences down to 1e-14 / take of w count.
//
// The kernel takes the difference, and does not compute `keep average + take w`: keep = 1 - take is
// a rounded number too, and its error would draw every average towards zero, for a take of 1e-6 by
// more than a hundredth. A difference that overflows counts as the largest finite number
// (core/kernels/saturation.h). All arithmetic is in float32: each operation is rounded once, none
// is fused, and denormals are kept. So the bits are the same on every Highway target and for any
// cut of the vector, as long as no result is NaN.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

// All spans have one length and do not overlap. `low` starts at zero.
void AverageUpdate(float take, absl::Span<const float> w, absl::Span<float> average,
                   absl::Span<float> low);

}  // namespace talweg::core
