// SPDX-License-Identifier: Apache-2.0
//
// Which rule each tensor takes under Muon, and who orthogonalizes which matrix in what memory. It
// follows from the layout alone, so that memory is told, and taken, at creation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/optimizers/optimizer.h"

namespace talweg::core {

// A value.
struct MuonPlan {
  // The role of tensors that take the fallback rule whatever their shape.
  static constexpr TensorRole kFallback = 1;

  static constexpr size_t kMaxLanes = 8;
  static constexpr uint64_t kIsMatrix = ~uint64_t{0};

  // A tensor of two dimensions or more: the first, and the others as one.
  struct Matrix {
    size_t tensor;
    uint64_t rows, cols;
  };
  // Matrices that are worked on one after the other, in the same scratch.
  struct Lane {
    std::vector<Matrix> matrices;
    uint64_t scratch_begin = 0;  // in the scratch of all lanes
    uint64_t scratch_size = 0;   // of the matrix that needs most
    double flops = 0;            // of a step
  };

  // The costliest matrix first, each to the lane that has least to do; min(matrices, kMaxLanes)
  // lanes. A side beyond what BLAS can count makes a tensor take the fallback rule.
  explicit MuonPlan(const ParameterSpace& space);

  std::vector<Lane> lanes;
  std::vector<uint64_t> fallback_begin;  // by tensor: its first place in v, or kIsMatrix
  uint64_t num_fallback_elements = 0;
  uint64_t scratch_size = 0;  // of all lanes
};

}  // namespace talweg::core
