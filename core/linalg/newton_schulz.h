// SPDX-License-Identifier: Apache-2.0
//
// The orthogonal factor of a matrix, nearly, by products alone: Newton-Schulz iteration with the
// quintic that Muon takes.
//
//   X <- X / (||X|| + 1e-7)                                     Frobenius
//   X <- a X + (b A + c A A) X,  A = X X^T      a = 3.4445, b = -4.7750, c = 2.0315; `steps` times
//
// With X = U S V^T it makes U p(p(...S)) V^T, p(s) = a s + b s^3 + c s^5: five steps bring singular
// values from 0.0016 on into [0.68, 1.21]; they do not converge, and Muon does not mind. A tall X
// takes A = X^T X on the other side, which is the iteration of its transpose.
//
// Source: Keller Jordan, "Muon: an optimizer for hidden layers in neural networks" (2024).
// Cost of a step, n the shorter side and m the longer: n^2 (3 m + n) flops, as A and A A are
// symmetric and computed by half. In float32 on OpenBLAS, one thread: the same bits on the same
// kind of CPU, whoever calls.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace talweg::core {

inline constexpr uint64_t kMaxMatrixSide = (uint64_t{1} << 31) - 1;  // as BLAS counts

// Elements of scratch that a matrix needs: itself, and two squares of its shorter side.
uint64_t NewtonSchulzScratch(uint64_t rows, uint64_t cols);

// Flops of `steps` steps.
double NewtonSchulzFlops(uint64_t rows, uint64_t cols, uint64_t steps);

// Takes `steps` (> 0) steps of `x`, [rows, cols], row-major, finite, whose Frobenius norm is
// `norm`. `scratch` has at least NewtonSchulzScratch elements, what is in it does not matter. Sides
// are at most kMaxMatrixSide.
void NewtonSchulz(size_t rows, size_t cols, uint64_t steps, double norm, absl::Span<float> x,
                  absl::Span<float> scratch);

}  // namespace talweg::core
