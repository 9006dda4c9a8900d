// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/kfac_plan.h"

#include <algorithm>

#include "core/base/check.h"

namespace talweg::core {

KfacPlan::KfacPlan(const ParameterSpace& space) {
  const Layout& layout = *space.layout;
  std::vector<bool> is_in_layer(layout.tensors().size());
  for (const KroneckerLayer& shape : space.layers) {
    Layer& layer = layers.emplace_back();
    layer.shape = shape;
    TALWEG_CHECK(layout.size_of(shape.weight) == layer.num_weights());
    layer.weight_begin = layout.offsets()[shape.weight];
    is_in_layer[shape.weight] = true;
    if (shape.bias.has_value()) {
      TALWEG_CHECK(layout.size_of(*shape.bias) == shape.outputs);
      layer.bias_begin = layout.offsets()[*shape.bias];
      is_in_layer[*shape.bias] = true;
    }
    layer.t_begin = layer.u_begin = scratch_size;
    scratch_size += shape.input_side() * shape.outputs;
    // A row of a block takes part in both products.
    const auto side = static_cast<double>(std::max(shape.input_side(), shape.outputs));
    const double flops_per_row = 2 * side * static_cast<double>(shape.input_side());
    const auto rows = static_cast<uint64_t>(std::max(1.0, kBlockFlops / flops_per_row));
    const uint64_t num_blocks = (shape.outputs + rows - 1) / rows;
    for (uint64_t block = 0; block < num_blocks; ++block) {
      blocks.push_back({layers.size() - 1, block * shape.outputs / num_blocks,
                        (block + 1) * shape.outputs / num_blocks});
    }
  }
  for (size_t tensor = 0; tensor < is_in_layer.size(); ++tensor) {
    fallback_begin.push_back(is_in_layer[tensor] ? kIsInLayer : num_fallback_elements);
    if (!is_in_layer[tensor]) num_fallback_elements += layout.size_of(tensor);
  }
}

}  // namespace talweg::core
