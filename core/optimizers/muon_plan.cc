// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/muon_plan.h"

#include <algorithm>

#include "core/linalg/newton_schulz.h"

namespace talweg::core {

MuonPlan::MuonPlan(const ParameterSpace& space) {
  const Layout& layout = *space.layout;
  std::vector<Matrix> matrices;
  for (size_t tensor = 0; tensor < layout.tensors().size(); ++tensor) {
    const std::vector<uint64_t>& shape = layout.tensors()[tensor].shape;
    const uint64_t size = layout.size_of(tensor);
    if (shape.size() >= 2 && space.RoleOf(tensor) != kFallback && shape[0] <= kMaxMatrixSide &&
        size / shape[0] <= kMaxMatrixSide) {
      matrices.push_back({tensor, shape[0], size / shape[0]});
      fallback_begin.push_back(kIsMatrix);
    } else {
      fallback_begin.push_back(num_fallback_elements);
      num_fallback_elements += size;
    }
  }
  const auto flops = [](const Matrix& matrix) {
    return NewtonSchulzFlops(matrix.rows, matrix.cols, 1);
  };
  std::stable_sort(matrices.begin(), matrices.end(),
                   [&](const Matrix& a, const Matrix& b) { return flops(a) > flops(b); });
  lanes.resize(std::min(matrices.size(), kMaxLanes));
  for (const Matrix& matrix : matrices) {
    Lane& lane = *std::min_element(lanes.begin(), lanes.end(),
                                   [](const Lane& a, const Lane& b) { return a.flops < b.flops; });
    lane.matrices.push_back(matrix);
    lane.flops += flops(matrix);
    lane.scratch_size = std::max(lane.scratch_size, NewtonSchulzScratch(matrix.rows, matrix.cols));
  }
  for (Lane& lane : lanes) {
    lane.scratch_begin = scratch_size;
    scratch_size += lane.scratch_size;
  }
}

}  // namespace talweg::core
