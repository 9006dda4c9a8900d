// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/perturbation.h"

#include <utility>
#include <vector>

namespace talweg {

core::Perturbation PerturbationOf(const v1::Layout& layout, const v1::EvaluationLease& lease) {
  std::vector<core::TensorExtent> tensors;
  for (const v1::Tensor& tensor : layout.tensors()) {
    uint64_t num_elements = 1;
    for (const uint64_t dimension : tensor.shape()) num_elements *= dimension;
    tensors.push_back({num_elements, tensor.shape_size() >= 2 ? tensor.shape(0) : 0});
  }
  const core::NoiseScheme scheme = lease.noise() == v1::NOISE_SCHEME_RADEMACHER
                                       ? core::NoiseScheme::kRademacher
                                       : core::NoiseScheme::kNormal;
  return {lease.seed(), scheme, lease.rank(), std::move(tensors)};
}

}  // namespace talweg
