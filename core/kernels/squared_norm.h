// SPDX-License-Identifier: Apache-2.0
//
// Sums of squares in double, in one fixed order: lane i of 16 adds the elements whose index is
// congruent to i modulo 16, from the first to the last; then the lanes are added as a tree, lane i
// and lane i + 8, + 4, + 2, + 1. The same bits on every Highway target.
//
// A longer vector is the caller's to cut: the sum of a vector is the sum of its blocks of kBlock
// elements (core/base/shard.h), added in the order of the blocks.
//
// The result is finite exactly where every element is: the square of a float32 is at most 1.2e77,
// so a double holds the sum of 2^64 of them with room to spare, and nothing but an infinity or a
// NaN among the elements can make one. Callers find non-finite gradients so.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

// sum of x_i^2. Reads 4 bytes an element.
double SquaredNorm(absl::Span<const float> x);

// sum of (a_i - b_i)^2, the difference taken in double. One length.
double SquaredDistance(absl::Span<const float> a, absl::Span<const float> b);

}  // namespace talweg::core
