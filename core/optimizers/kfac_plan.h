// SPDX-License-Identifier: Apache-2.0
//
// Which rule each tensor takes under K-FAC, where the scratch of each layer is, and into which
// blocks of rows its products are cut. The plan follows from the layout and the layers alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/curvature/kronecker_layer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

// A value.
struct KfacPlan {
  static constexpr uint64_t kIsInLayer = ~uint64_t{0};
  // Operations of one block in one product: some 20 ms on one core.
  static constexpr double kBlockFlops = 1.5e9;

  struct Layer {
    KroneckerLayer shape;
    uint64_t weight_begin = 0;  // in the flat vector
    uint64_t bias_begin = 0;    // likewise, if there is a bias
    uint64_t t_begin = 0;       // of V A^-1, [outputs, input_side], in its scratch
    uint64_t u_begin = 0;  // of U in its scratch: the weight as the layout has it, then the bias
    uint64_t num_weights() const { return shape.inputs * shape.outputs; }
  };
  // Some outputs of a layer.
  struct Block {
    size_t layer;
    uint64_t begin, end;
    uint64_t size() const { return end - begin; }
  };

  explicit KfacPlan(const ParameterSpace& space);

  std::vector<Layer> layers;
  std::vector<Block> blocks;             // of all layers
  std::vector<uint64_t> fallback_begin;  // by tensor: its place in v, or kIsInLayer
  uint64_t num_fallback_elements = 0;
  uint64_t scratch_size = 0;  // of t, and of u
};

}  // namespace talweg::core
