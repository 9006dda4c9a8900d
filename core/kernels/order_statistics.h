// SPDX-License-Identifier: Apache-2.0
//
// Means, coordinate by coordinate, that a few strange vectors cannot pull far away.
//
//   y_1 <= … <= y_n: the n values of a coordinate in order, -0 before +0
//   trimmed mean   float32((y_(trim+1) + … + y_(n-trim)) / (n - 2 trim))
//   median         y_((n+1)/2), or float32((y_(n/2) + y_(n/2+1)) / 2) if n is even
//
// The sum is taken in double, in ascending order.
//
// The order in which the vectors are given does not change a bit.
//
// Source: D. Yin et al., arXiv:1803.01498, definitions 1 and 2. Sorting is by Batcher's merge
// exchange (D. Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M), which makes
// the same comparisons for all values: about n log2(n)^2 / 4 of whole vectors. Scratch: 256 n
// bytes.
#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace talweg::core {

// There is at least one vector. The vectors have the length of `mean`, and nothing overlaps `mean`.
// 2 trim < n.
void TrimmedMean(absl::Span<const float* const> vectors, size_t trim, absl::Span<float> mean);

// As TrimmedMean if all values except the middle one, or the middle two, are trimmed.
void Median(absl::Span<const float* const> vectors, absl::Span<float> median);

}  // namespace talweg::core
