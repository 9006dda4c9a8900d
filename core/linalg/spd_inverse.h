// SPDX-License-Identifier: Apache-2.0
//
// The inverse of a symmetric positive definite matrix, by Cholesky's factor and matrix products.
//
//   A = R^T R,  R upper triangular;  V = R^-1;  A^-1 = V V^T
//
// Both V and V V^T are computed by halves, in place, so that nearly all operations are products of
// matrices, which a BLAS does at the speed of sgemm:
//
//   V11 = inverse factor of A11                       W11 = V11 V11^T + V12 V12^T
//   R12 = V11^T A12;  A22 <- A22 - R12^T R12          W12 = V12 V22^T
//   V22 = inverse factor of A22                       W22 = V22 V22^T
//   V12 = -V11 R12 V22
//
// This takes n^3 flops, as LAPACK's potrf and potri do, and half to three quarters of their time.
// Blocks of at most 32 rows are left to LAPACK (potrf, trtri, lauum).
//
// Source: the recursion by halves is that of Gustavson 1997, "Recursion leads to automatic variable
// blocking for dense linear-algebra algorithms"; the formulas follow from R^T R = A by blocks.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"

namespace talweg::core {

// The inversion of a matrix of n rows, cut into pieces that are run one after the other, so that a
// large one holds nobody up: a piece takes at most kPieceFlops. The pieces depend on n alone, and
// so do the bits of the result, on one kind of CPU. `Real` is float or double. A value.
template <class Real>
class SpdInverse {
 public:
  static constexpr double kPieceFlops = 2.5e9;  // some 20 ms on one core

  // 1 <= n <= kMaxMatrixSide (newton_schulz.h).
  explicit SpdInverse(size_t n, double piece_flops = kPieceFlops);

  size_t num_pieces() const { return pieces_.size(); }
  // Runs one piece on `a`, [n, n], row-major, whose upper triangle is read. Pieces are run in
  // order, and on any thread. After the last one `a` is the inverse, both triangles of it. Returns
  // false if the matrix is not positive definite by this precision, or not finite; then no further
  // piece may be run, and `a` is of no more use.
  bool Run(size_t piece, absl::Span<Real> a) const;
  // All of them.
  bool RunAll(absl::Span<Real> a) const;

 private:
  enum class Kind {
    kFactor,        // a block becomes its inverse factor V
    kLeftTrans,     // X <- T^T X
    kLeftNegative,  // X <- -T X
    kRight,         // X <- X T
    kRightTrans,    // X <- X T^T
    kSubtract,      // the rows of S from the first to the last lose those of X^T X
    kAdd,           // they gain those of X X^T
    kSquare,        // a block V becomes V V^T
    kMirror,        // the rows of the lower triangle are copied from the upper one
  };
  // T is the block of `size` rows at (at, at). X is [rows, cols] at (row, col). S is the block at
  // (at, at), of which the rows from `first` to `last` are computed.
  struct Piece {
    Kind kind;
    size_t at, size;
    size_t row, col, rows, cols;
    size_t first, last;
  };

  void AddFactor(size_t at, size_t size);
  void AddSquare(size_t at, size_t size);
  void AddProducts(Kind kind, size_t at, size_t size, size_t row, size_t col, size_t rows,
                   size_t cols);
  void AddUpdate(Kind kind, size_t at, size_t size, size_t row, size_t col, size_t rows,
                 size_t cols);

  size_t n_;
  double piece_flops_;
  std::vector<Piece> pieces_;
};

extern template class SpdInverse<float>;
extern template class SpdInverse<double>;

}  // namespace talweg::core
