// SPDX-License-Identifier: Apache-2.0
//
// One step of a running average: 12 bytes of traffic per element.
//
//   average <- average + take (w - average)
//
// The kernel takes the difference, and does not compute `keep average + take w`: keep = 1 - take is
// a rounded number too, and its error would draw every average towards zero, for a take of 1e-6 by
// more than a hundredth. All arithmetic is in float32: each operation is rounded once, none is
// fused, and denormals are kept. So the bits are the same on every Highway target and for any cut
// of the vector.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

// Both spans have one length and do not overlap.
void AverageUpdate(float take, absl::Span<const float> w, absl::Span<float> average);

}  // namespace talweg::core
