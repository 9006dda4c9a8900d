// SPDX-License-Identifier: Apache-2.0
//
// One step of a running average: 12 bytes of traffic an element.
//
//   average <- keep average + take w
//
// In float32, each operation rounded once, none fused, denormals kept: the same bits on every
// Highway target and for any cut of the vector.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

// Both spans have one length and do not overlap.
void AverageUpdate(float keep, float take, absl::Span<const float> w, absl::Span<float> average);

}  // namespace talweg::core
