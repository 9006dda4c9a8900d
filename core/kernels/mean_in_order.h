// SPDX-License-Identifier: Apache-2.0
//
// A weighted mean of vectors whose bits are those of a plain loop in the order given.
//
//   sum <- 0, then sum <- sum + w_i x_i for i = 0, 1, …       mean = float32(sum / total_weight)
//
// Products are exact in double, and each sum is rounded to double once: what a client that has all
// vectors computes with one line. Where no order is agreed on, see exact_sum.h.
//
// Any number of vectors: sums stay in the nearest cache, block by block, so that each vector is
// read once, 4 bytes an element, and nothing else is moved but the mean.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/weighted_vector.h"

namespace talweg::core {

// The vectors have the length of `mean`, which nothing overlaps. `total_weight` is the sum of the
// weights.
void MeanInOrder(absl::Span<const WeightedVector> contributions, double total_weight,
                 absl::Span<float> mean);

}  // namespace talweg::core
