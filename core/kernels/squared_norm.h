// SPDX-License-Identifier: Apache-2.0
//
// Sums of squares in double, in one fixed order: lane i of 16 adds the elements whose index is
// congruent to i modulo 16, from the first to the last; then the lanes are added as a tree, lane i
// and lane i + 8, + 4, + 2, + 1. The bits are the same on every Highway target.
//
// The caller cuts a longer vector: the sum of a vector is the sum over its blocks of kBlock
// elements (core/base/shard.h), added in the order of the blocks.
//
// The result is finite exactly if every element is: the square of a float32 is at most 1.2e77, so a
// double holds the sum of 2^64 of them with room to spare, and only an infinity or a NaN among the
// elements can make the result infinite or NaN. Callers find gradients that are not finite in this
// way.
#pragma once

#include "absl/types/span.h"

namespace talweg::core {

// The sum of x_i^2. Reads 4 bytes per element.
double SquaredNorm(absl::Span<const float> x);

// The sum of (a_i - b_i)^2; the difference is taken in double. Both have one length.
double SquaredDistance(absl::Span<const float> a, absl::Span<const float> b);

}  // namespace talweg::core
