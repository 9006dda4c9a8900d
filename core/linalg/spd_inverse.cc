// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/spd_inverse.h"

// The two headers of OpenBLAS in the order in which they compile: the first declares LAPACK.
#include <f77blas.h>
//
#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/linalg/newton_schulz.h"
#include "core/linalg/one_thread.h"

namespace talweg::core {
namespace {

// A block of so many rows is left to LAPACK.
constexpr size_t kLeaf = 32;
constexpr size_t kTile = 32;

// A block of a larger matrix, row-major, `stride` elements from row to row.
template <class Real>
struct Block {
  Real* data;
  blasint stride;

  Block At(size_t row, size_t col) const {
    return {data + row * static_cast<size_t>(stride) + col, stride};
  }
};

blasint Int(size_t count) { return static_cast<blasint>(count); }

// LAPACK is column-major, so that our upper triangle is its lower one: L = R^T.
char lower = 'L';
char not_unit = 'N';

bool Factor(blasint n, Block<float> a) {
  blasint info = 0;
  BLASFUNC(spotrf)(&lower, &n, a.data, &a.stride, &info);
  if (info == 0) BLASFUNC(strtri)(&lower, &not_unit, &n, a.data, &a.stride, &info);
  return info == 0;
}
bool Factor(blasint n, Block<double> a) {
  blasint info = 0;
  BLASFUNC(dpotrf)(&lower, &n, a.data, &a.stride, &info);
  if (info == 0) BLASFUNC(dtrtri)(&lower, &not_unit, &n, a.data, &a.stride, &info);
  return info == 0;
}

void Square(blasint n, Block<float> a) {
  blasint info = 0;
  BLASFUNC(slauum)(&lower, &n, a.data, &a.stride, &info);
}
void Square(blasint n, Block<double> a) {
  blasint info = 0;
  BLASFUNC(dlauum)(&lower, &n, a.data, &a.stride, &info);
}

// X <- factor T X, X T or with T transposed; T is upper triangular.
template <class Real>
void MultiplyByTriangle(CBLAS_SIDE side, CBLAS_TRANSPOSE transpose, size_t rows, size_t cols,
                        Real factor, Block<Real> t, Block<Real> x) {
  if constexpr (sizeof(Real) == sizeof(float)) {
    cblas_strmm(CblasRowMajor, side, CblasUpper, transpose, CblasNonUnit, Int(rows), Int(cols),
                factor, t.data, t.stride, x.data, x.stride);
  } else {
    cblas_dtrmm(CblasRowMajor, side, CblasUpper, transpose, CblasNonUnit, Int(rows), Int(cols),
                factor, t.data, t.stride, x.data, x.stride);
  }
}

// The upper triangle of S <- S + factor X X^T, or X^T X if `transpose`. S is [n, n], summed over k.
template <class Real>
void AddSquareOf(CBLAS_TRANSPOSE transpose, size_t n, size_t k, Real factor, Block<Real> x,
                 Block<Real> s) {
  if constexpr (sizeof(Real) == sizeof(float)) {
    cblas_ssyrk(CblasRowMajor, CblasUpper, transpose, Int(n), Int(k), factor, x.data, x.stride, 1,
                s.data, s.stride);
  } else {
    cblas_dsyrk(CblasRowMajor, CblasUpper, transpose, Int(n), Int(k), factor, x.data, x.stride, 1,
                s.data, s.stride);
  }
}

// S <- S + factor X Y^T, or X^T Y if `transpose`. S is [rows, cols], summed over k.
template <class Real>
void AddProductOf(CBLAS_TRANSPOSE transpose, size_t rows, size_t cols, size_t k, Real factor,
                  Block<Real> x, Block<Real> y, Block<Real> s) {
  const CBLAS_TRANSPOSE other = transpose == CblasTrans ? CblasNoTrans : CblasTrans;
  if constexpr (sizeof(Real) == sizeof(float)) {
    cblas_sgemm(CblasRowMajor, transpose, other, Int(rows), Int(cols), Int(k), factor, x.data,
                x.stride, y.data, y.stride, 1, s.data, s.stride);
  } else {
    cblas_dgemm(CblasRowMajor, transpose, other, Int(rows), Int(cols), Int(k), factor, x.data,
                x.stride, y.data, y.stride, 1, s.data, s.stride);
  }
}

// How many of `count` rows or columns make a piece, if one of them takes `flops`.
size_t PieceOf(size_t count, double flops, double most) {
  const double fit = std::floor(most / flops);
  if (fit >= static_cast<double>(count)) return count;
  return std::max<size_t>(1, static_cast<size_t>(fit));
}

// By whole tiles, because a column would miss the caches at every element.
template <class Real>
void MirrorRows(size_t n, size_t first, size_t last, Block<Real> a) {
  const auto stride = static_cast<size_t>(a.stride);
  for (size_t left = 0; left < last; left += kTile) {
    for (size_t row = first; row < last; ++row) {
      for (size_t col = left; col < std::min({left + kTile, row, n}); ++col) {
        a.data[row * stride + col] = a.data[col * stride + row];
      }
    }
  }
}

}  // namespace

template <class Real>
SpdInverse<Real>::SpdInverse(size_t n, double piece_flops) : n_(n), piece_flops_(piece_flops) {
  TALWEG_CHECK(n >= 1 && n <= kMaxMatrixSide);
  AddFactor(0, n);
  AddSquare(0, n);
  // One element is far more than a flop: it is read across the rows.
  const size_t rows = PieceOf(n, 16 * static_cast<double>(n), piece_flops_);
  for (size_t first = 0; first < n; first += rows) {
    pieces_.push_back({Kind::kMirror, 0, n, 0, 0, 0, 0, first, std::min(first + rows, n)});
  }
}

// X, [rows, cols], is multiplied by a triangle: from the left its columns are independent, from the
// right its rows.
template <class Real>
void SpdInverse<Real>::AddProducts(Kind kind, size_t at, size_t size, size_t row, size_t col,
                                   size_t rows, size_t cols) {
  const bool by_rows = kind == Kind::kRight || kind == Kind::kRightTrans;
  const size_t count = by_rows ? rows : cols;
  const double flops = static_cast<double>(size) * static_cast<double>(size);
  const size_t step = PieceOf(count, flops, piece_flops_);
  for (size_t begin = 0; begin < count; begin += step) {
    const size_t part = std::min(step, count - begin);
    if (by_rows) {
      pieces_.push_back({kind, at, size, row + begin, col, part, cols, 0, 0});
    } else {
      pieces_.push_back({kind, at, size, row, col + begin, rows, part, 0, 0});
    }
  }
}

template <class Real>
void SpdInverse<Real>::AddUpdate(Kind kind, size_t at, size_t size, size_t row, size_t col,
                                 size_t rows, size_t cols) {
  const size_t summed = kind == Kind::kSubtract ? rows : cols;
  for (size_t first = 0; first < size;) {
    // A row of the triangle ends at the last column.
    const double flops = 2 * static_cast<double>(summed) * static_cast<double>(size - first);
    const size_t part = PieceOf(size - first, flops, piece_flops_);
    pieces_.push_back({kind, at, size, row, col, rows, cols, first, first + part});
    first += part;
  }
}

template <class Real>
void SpdInverse<Real>::AddFactor(size_t at, size_t size) {
  if (size <= kLeaf) {
    pieces_.push_back({Kind::kFactor, at, size, 0, 0, 0, 0, 0, 0});
    return;
  }
  const size_t half = size / 2;
  const size_t rest = size - half;
  const size_t next = at + half;
  AddFactor(at, half);
  AddProducts(Kind::kLeftTrans, at, half, at, next, half, rest);
  AddUpdate(Kind::kSubtract, next, rest, at, next, half, rest);
  AddFactor(next, rest);
  AddProducts(Kind::kLeftNegative, at, half, at, next, half, rest);
  AddProducts(Kind::kRight, next, rest, at, next, half, rest);
}

template <class Real>
void SpdInverse<Real>::AddSquare(size_t at, size_t size) {
  if (size <= kLeaf) {
    pieces_.push_back({Kind::kSquare, at, size, 0, 0, 0, 0, 0, 0});
    return;
  }
  const size_t half = size / 2;
  const size_t rest = size - half;
  const size_t next = at + half;
  AddSquare(at, half);
  AddUpdate(Kind::kAdd, at, half, at, next, half, rest);
  AddProducts(Kind::kRightTrans, next, rest, at, next, half, rest);
  AddSquare(next, rest);
}

template <class Real>
bool SpdInverse<Real>::Run(size_t piece, absl::Span<Real> a) const {
  TALWEG_CHECK(a.size() == n_ * n_ && piece < pieces_.size());
  UseOneThread();
  const Piece& p = pieces_[piece];
  const Block<Real> whole{a.data(), Int(n_)};
  const Block<Real> t = whole.At(p.at, p.at);
  const Block<Real> x = whole.At(p.row, p.col);
  switch (p.kind) {
    case Kind::kFactor:
      if (!Factor(Int(p.size), t)) return false;
      // LAPACK lets some numbers pass that are none.
      for (size_t i = 0; i < p.size; ++i) {
        const Real diagonal = *t.At(i, i).data;
        if (!(diagonal > 0) || !std::isfinite(diagonal)) return false;
      }
      return true;
    case Kind::kLeftTrans:
      MultiplyByTriangle<Real>(CblasLeft, CblasTrans, p.rows, p.cols, 1, t, x);
      return true;
    case Kind::kLeftNegative:
      MultiplyByTriangle<Real>(CblasLeft, CblasNoTrans, p.rows, p.cols, -1, t, x);
      return true;
    case Kind::kRight:
      MultiplyByTriangle<Real>(CblasRight, CblasNoTrans, p.rows, p.cols, 1, t, x);
      return true;
    case Kind::kRightTrans:
      MultiplyByTriangle<Real>(CblasRight, CblasTrans, p.rows, p.cols, 1, t, x);
      return true;
    case Kind::kSubtract:
    case Kind::kAdd: {
      const bool subtract = p.kind == Kind::kSubtract;
      const CBLAS_TRANSPOSE transpose = subtract ? CblasTrans : CblasNoTrans;
      const Real factor = subtract ? -1 : 1;
      const size_t summed = subtract ? p.rows : p.cols;
      const auto part = [&](size_t index) { return subtract ? x.At(0, index) : x.At(index, 0); };
      AddSquareOf<Real>(transpose, p.last - p.first, summed, factor, part(p.first),
                        t.At(p.first, p.first));
      if (p.last == p.size) return true;
      AddProductOf<Real>(transpose, p.last - p.first, p.size - p.last, summed, factor,
                         part(p.first), part(p.last), t.At(p.first, p.last));
      return true;
    }
    case Kind::kSquare:
      Square(Int(p.size), t);
      return true;
    case Kind::kMirror:
      // |W_ij|^2 <= W_ii W_jj: the diagonal tells whether anything has overflowed.
      for (size_t i = p.first; i < p.last; ++i) {
        if (!std::isfinite(*whole.At(i, i).data)) return false;
      }
      MirrorRows(n_, p.first, p.last, whole);
      return true;
  }
  return false;
}

template <class Real>
bool SpdInverse<Real>::RunAll(absl::Span<Real> a) const {
  for (size_t piece = 0; piece < pieces_.size(); ++piece) {
    if (!Run(piece, a)) return false;
  }
  return true;
}

template class SpdInverse<float>;
template class SpdInverse<double>;

}  // namespace talweg::core
