// SPDX-License-Identifier: Apache-2.0
//
// A weighted mean of vectors whose bits are those of a plain loop in the order given.
//
//   sum <- 0, then sum <- sum + w_i x_i for i = 0, 1, …       mean = float32(sum / total_weight)
//
// Products are exact in double, and each sum is rounded to double once: a client that has all
// vectors computes the same with one line. If no order is agreed on, see exact_sum.h.
//
// There may be any number of vectors: the sums stay in the nearest cache, block by block, so that
// each vector is read once, 4 bytes per element, and nothing else is moved except the mean.
#pragma once

#include "absl/types/span.h"
#include "core/kernels/weighted_vector.h"

namespace talweg::core {

// The vectors have the length of `mean`, and nothing overlaps `mean`. `total_weight` is the sum of
// the weights.
void MeanInOrder(absl::Span<const WeightedVector> contributions, double total_weight,
                 absl::Span<float> mean);

}  // namespace talweg::core
