// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/newton_schulz.h"

#include <cblas.h>

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/linalg/one_thread.h"

namespace talweg::core {
namespace {

constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// Copies the upper triangle of a, [n, n], to the lower one. It goes by tiles, because otherwise it
// would miss the caches at every element.
void MirrorUpper(size_t n, float* a) {
  constexpr size_t kTile = 32;
  for (size_t top = 0; top < n; top += kTile) {
    for (size_t left = top; left < n; left += kTile) {
      for (size_t row = top; row < std::min(top + kTile, n); ++row) {
        for (size_t col = std::max(left, row + 1); col < std::min(left + kTile, n); ++col) {
          a[col * n + row] = a[row * n + col];
        }
      }
    }
  }
}

}  // namespace

uint64_t NewtonSchulzScratch(uint64_t rows, uint64_t cols) {
  const uint64_t n = std::min(rows, cols);
  return rows * cols + 2 * n * n;
}

double NewtonSchulzFlops(uint64_t rows, uint64_t cols, uint64_t steps) {
  const auto n = static_cast<double>(std::min(rows, cols));
  const auto m = static_cast<double>(std::max(rows, cols));
  return static_cast<double>(steps) * n * n * (3 * m + n);
}

void NewtonSchulz(size_t rows, size_t cols, uint64_t steps, double divisor, absl::Span<float> x,
                  absl::Span<float> scratch) {
  TALWEG_CHECK(rows <= kMaxMatrixSide && cols <= kMaxMatrixSide && x.size() == rows * cols &&
               scratch.size() >= NewtonSchulzScratch(rows, cols) && steps > 0 && divisor > 0);
  UseOneThread();
  const bool wide = rows <= cols;
  const size_t n = std::min(rows, cols);
  float* square = scratch.data();      // A, [n, n]
  float* polynomial = square + n * n;  // a I + b A + c A A, its upper triangle
  float* now = polynomial + n * n;     // X of this step
  float* next = x.data();              // and of the next: the last one must stand in `x`
  if (steps % 2 == 0) std::swap(now, next);
  // In double, because float32 does not hold the reciprocal of every divisor.
  for (size_t i = 0; i < x.size(); ++i) now[i] = static_cast<float>(x[i] / divisor);

  const auto blas_rows = static_cast<blasint>(rows);
  const auto blas_cols = static_cast<blasint>(cols);
  const auto side = static_cast<blasint>(n);
  for (uint64_t step = 0; step < steps; ++step) {
    cblas_ssyrk(CblasRowMajor, CblasUpper, wide ? CblasNoTrans : CblasTrans, side,
                wide ? blas_cols : blas_rows, 1, now, blas_cols, 0, square, side);
    MirrorUpper(n, square);
    std::copy(square, square + n * n, polynomial);
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, side, side, kC, square, side, kB,
                polynomial, side);
    for (size_t i = 0; i < n; ++i) polynomial[i * n + i] += kA;
    cblas_ssymm(CblasRowMajor, wide ? CblasLeft : CblasRight, CblasUpper, blas_rows, blas_cols, 1,
                polynomial, side, now, blas_cols, 0, next, blas_cols);
    std::swap(now, next);
  }
}

}  // namespace talweg::core
