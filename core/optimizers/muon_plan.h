// SPDX-License-Identifier: Apache-2.0
//
// Which rule each tensor takes under Muon, and which lane makes which matrix orthogonal in which
// memory. The plan follows from the layout and the roles alone, so that memory is known, and taken,
// at creation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/optimizers/optimizer.h"

namespace talweg::core {

// A value.
struct MuonPlan {
  // The role of tensors that take the fallback rule, whatever their shape is.
  static constexpr TensorRole kFallback = 1;

  static constexpr size_t kMaxLanes = 8;
  static constexpr uint64_t kIsMatrix = ~uint64_t{0};

  // A tensor of two dimensions or more: the first dimension, and the product of the others.
  struct Matrix {
    size_t tensor;
    uint64_t rows, cols;
  };
  // Matrices that a task works on one after the other, in the same scratch.
  struct Lane {
    std::vector<Matrix> matrices;
    uint64_t scratch_begin = 0;  // in the scratch of all lanes
    uint64_t scratch_size = 0;   // what its most demanding matrix needs
    double flops = 0;            // of a step
  };

  // There are min(matrices, kMaxLanes) lanes. Matrices go to lanes in the order of their cost, the
  // costliest first, each to the lane that has least to do. A tensor with a side beyond what BLAS
  // can count takes the fallback rule.
  explicit MuonPlan(const ParameterSpace& space);

  std::vector<Lane> lanes;
  std::vector<uint64_t> fallback_begin;  // by tensor: its place in v, or kIsMatrix
  uint64_t num_fallback_elements = 0;
  uint64_t scratch_size = 0;  // of all lanes
};

}  // namespace talweg::core
