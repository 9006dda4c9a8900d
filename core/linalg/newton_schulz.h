// SPDX-License-Identifier: Apache-2.0
//
// Makes a matrix nearly orthogonal by matrix products alone: the Newton-Schulz iteration
// with the quintic that Muon uses.
//
//   X <- X / divisor                                            ||X|| (Frobenius) or more
//   X <- a X + (b A + c A A) X,  A = X X^T      a = 3.4445, b = -4.7750, c = 2.0315; `steps` times
//
// From X = U S V^T the iteration makes U p(p(...S)) V^T with p(s) = a s + b s^3 + c s^5. Five steps
// bring singular values of 0.0016 and more into [0.68, 1.21]; they do not converge, and Muon does
// not need them to. A tall X takes A = X^T X on the other side, which is the iteration of its
// transpose.
//
// Source: Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024). A step
// costs n^2 (3 m + n) flops, if n is the shorter side and m the longer, because A and A A are
// symmetric and only half of each is computed. The iteration runs in float32 on OpenBLAS on one
// thread: the bits are the same on the same kind of CPU for every caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace talweg::core {

inline constexpr uint64_t kMaxMatrixSide = (uint64_t{1} << 31) - 1;  // as BLAS counts

// Elements of scratch that a matrix needs: as many as the matrix has, and two squares of its
// shorter side.
uint64_t NewtonSchulzScratch(uint64_t rows, uint64_t cols);

// Flops of `steps` steps.
double NewtonSchulzFlops(uint64_t rows, uint64_t cols, uint64_t steps);

// Takes `steps` (> 0) steps of `x`, [rows, cols], row-major, finite. `divisor` (> 0) is at least
// the Frobenius norm of `x`. `scratch` has at least NewtonSchulzScratch elements; their values do
// not matter. Sides are at most kMaxMatrixSide.
void NewtonSchulz(size_t rows, size_t cols, uint64_t steps, double divisor, absl::Span<float> x,
                  absl::Span<float> scratch);

}  // namespace talweg::core
