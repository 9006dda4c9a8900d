// SPDX-License-Identifier: Apache-2.0
//
// The mean outer product of the rows of a matrix, as a packed upper triangle.
//
//   packed(scale * sum_r x_r x_r^T),   x_r = row r, with a 1 behind it if `with_one`
//
// n^2 operations a row, as ssyrk has; the sums are those of float32, in BLAS's order.
#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace talweg::core {

// `rows` is [num_rows, n], row-major, both from 1 to 2^31 - 1; `packed` is [PackedSize(n)], or of n
// + 1 if `with_one`; `scratch` is [n, n].
void PackedGram(size_t num_rows, size_t n, absl::Span<const float> rows, bool with_one,
                double scale, absl::Span<float> packed, absl::Span<float> scratch);

}  // namespace talweg::core
