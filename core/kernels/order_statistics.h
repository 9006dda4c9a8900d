// SPDX-License-Identifier: Apache-2.0
//
// Means that a few strange vectors cannot carry away, coordinate by coordinate.
//
//   y_1 <= … <= y_n: the n values of a coordinate in order, -0 before +0
//   trimmed mean   float32((y_(trim+1) + … + y_(n-trim)) / (n - 2 trim))
//   median         y_((n+1)/2), or float32((y_(n/2) + y_(n/2+1)) / 2) where n is even
//
// The sum is in double, ascending.
//
// The order in which vectors are given does not matter, to the bit.
//
// Source: D. Yin et al., arXiv:1803.01498, definitions 1 and 2. Sorting is by Batcher's merge
// exchange (D. Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M), the same
// comparisons whatever the values: some n log2(n)^2 / 4 of whole vectors. Scratch: 256 n bytes.
#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace talweg::core {

// `vectors`, at least one, have the length of `mean`, which nothing overlaps. 2 trim < n.
void TrimmedMean(absl::Span<const float* const> vectors, size_t trim, absl::Span<float> mean);

// As TrimmedMean with all values trimmed but one, or two.
void Median(absl::Span<const float* const> vectors, absl::Span<float> median);

}  // namespace talweg::core
