// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices, row-major, on the thread that calls: OpenBLAS's sgemm and dgemm under one
// name. Source: BLAS, level 3.
#pragma once

#include <cstddef>
#include <cstdint>

namespace talweg::core {

// A matrix inside a larger one, or its transpose: element (i, j) stands at data[i * stride + j], or
// at data[j * stride + i] if it is transposed. Borrowed.
template <class Real>
struct MatrixView {
  const Real* data = nullptr;
  size_t stride = 0;  // between two rows in memory, >= 1
  bool transposed = false;
};

// c <- a b + keep c, where a is [rows, inner], b is [inner, cols], and c is [rows, cols] with
// `stride` elements between two rows. With `keep` 0, c need not be set before. All sizes are at
// least 1 and at most kMaxMatrixSide (newton_schulz.h). c overlaps neither a nor b. `Real` is float
// or double.
template <class Real>
void Multiply(size_t rows, size_t cols, size_t inner, MatrixView<Real> a, MatrixView<Real> b,
              Real keep, Real* c, size_t stride);

// c <- c + x y^T for c, [rows, cols], with `stride` elements between two rows; x has `x_stride`
// elements between two of its numbers.
template <class Real>
void AddOuterProduct(size_t rows, size_t cols, const Real* x, size_t x_stride, const Real* y,
                     Real* c, size_t stride);

extern template void Multiply<float>(size_t, size_t, size_t, MatrixView<float>, MatrixView<float>,
                                     float, float*, size_t);
extern template void Multiply<double>(size_t, size_t, size_t, MatrixView<double>,
                                      MatrixView<double>, double, double*, size_t);
extern template void AddOuterProduct<float>(size_t, size_t, const float*, size_t, const float*,
                                            float*, size_t);
extern template void AddOuterProduct<double>(size_t, size_t, const double*, size_t, const double*,
                                             double*, size_t);

}  // namespace talweg::core
