// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/product.h"

#include <cblas.h>

#include <algorithm>

#include "core/base/check.h"
#include "core/linalg/newton_schulz.h"
#include "core/linalg/one_thread.h"

namespace talweg::core {
namespace {

void Gemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, blasint m, blasint n, blasint k,
          const float* a, blasint lda, const float* b, blasint ldb, float keep, float* c,
          blasint ldc) {
  cblas_sgemm(CblasRowMajor, trans_a, trans_b, m, n, k, 1, a, lda, b, ldb, keep, c, ldc);
}
void Gemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, blasint m, blasint n, blasint k,
          const double* a, blasint lda, const double* b, blasint ldb, double keep, double* c,
          blasint ldc) {
  cblas_dgemm(CblasRowMajor, trans_a, trans_b, m, n, k, 1, a, lda, b, ldb, keep, c, ldc);
}

}  // namespace

template <class Real>
void Multiply(size_t rows, size_t cols, size_t inner, MatrixView<Real> a, MatrixView<Real> b,
              Real keep, Real* c, size_t stride) {
  TALWEG_CHECK(rows > 0 && cols > 0 && inner > 0 &&
               std::max({rows, cols, inner, a.stride, b.stride, stride}) <= kMaxMatrixSide);
  UseOneThread();
  Gemm(a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans,
       static_cast<blasint>(rows), static_cast<blasint>(cols), static_cast<blasint>(inner), a.data,
       static_cast<blasint>(a.stride), b.data, static_cast<blasint>(b.stride), keep, c,
       static_cast<blasint>(stride));
}

template <class Real>
void AddOuterProduct(size_t rows, size_t cols, const Real* x, size_t x_stride, const Real* y,
                     Real* c, size_t stride) {
  for (size_t row = 0; row < rows; ++row) {
    const Real factor = x[row * x_stride];
    for (size_t col = 0; col < cols; ++col) c[row * stride + col] += factor * y[col];
  }
}

template void Multiply<float>(size_t, size_t, size_t, MatrixView<float>, MatrixView<float>, float,
                              float*, size_t);
template void Multiply<double>(size_t, size_t, size_t, MatrixView<double>, MatrixView<double>,
                               double, double*, size_t);
template void AddOuterProduct<float>(size_t, size_t, const float*, size_t, const float*, float*,
                                     size_t);
template void AddOuterProduct<double>(size_t, size_t, const double*, size_t, const double*, double*,
                                      size_t);

}  // namespace talweg::core
