// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/gram.h"

#include <cblas.h>

#include <algorithm>
#include <vector>

#include "core/base/check.h"
#include "core/linalg/newton_schulz.h"
#include "core/linalg/one_thread.h"
#include "core/linalg/packed_triangle.h"

namespace talweg::core {

void PackedGram(size_t num_rows, size_t n, absl::Span<const float> rows, bool with_one,
                double scale, absl::Span<float> packed, absl::Span<float> scratch) {
  const size_t side = n + (with_one ? 1 : 0);
  TALWEG_CHECK(num_rows > 0 && n > 0 && std::max(num_rows, n) <= kMaxMatrixSide &&
               rows.size() == num_rows * n && packed.size() == PackedSize(side) &&
               scratch.size() >= n * n);
  UseOneThread();
  // The ones' column: the sums of the columns, in double.
  std::vector<double> sums(with_one ? n : 0);
  for (size_t row = 0; with_one && row < num_rows; ++row) {
    const float* x = rows.data() + row * n;
    for (size_t col = 0; col < n; ++col) sums[col] += static_cast<double>(x[col]);
  }
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, static_cast<blasint>(n),
              static_cast<blasint>(num_rows), static_cast<float>(scale), rows.data(),
              static_cast<blasint>(n), 0, scratch.data(), static_cast<blasint>(n));
  float* next = packed.data();
  for (size_t row = 0; row < n; ++row) {
    next = std::copy(scratch.data() + row * n + row, scratch.data() + (row + 1) * n, next);
    if (with_one) *next++ = static_cast<float>(scale * sums[row]);
  }
  if (with_one) *next = static_cast<float>(scale * static_cast<double>(num_rows));
}

}  // namespace talweg::core
