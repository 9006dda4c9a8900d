// SPDX-License-Identifier: Apache-2.0
//
// Sums of vectors in double, and their mean rounded to float32 once.
//
// All spans have one length. Elementwise, each operation rounded once: the same bits on every
// machine and for any cut of the vector.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace talweg::core {

// sums <- sums + x. 20 bytes of traffic an element.
void AddTo(absl::Span<const float> x, absl::Span<double> sums);

// x <- (sums + x) / count, sums <- 0. 24 bytes of traffic an element.
void TakeMean(uint32_t count, absl::Span<double> sums, absl::Span<float> x);

}  // namespace talweg::core
