// SPDX-License-Identifier: Apache-2.0
#include "core/session/loss_estimate.h"

#include <span>
#include <utility>

#include "core/kernels/negate.h"

namespace talweg::core {

Perturbation PerturbationOf(const SearchConfig& config, const Layout& layout) {
  std::vector<TensorExtent> tensors;
  tensors.reserve(layout.tensors().size());
  for (const TensorSpec& tensor : layout.tensors()) {
    uint64_t num_elements = 1;
    for (const uint64_t dimension : tensor.shape) num_elements *= dimension;
    tensors.push_back({num_elements, tensor.shape.size() >= 2 ? tensor.shape.front() : 0});
  }
  return {config.seed,
          config.noise == SearchNoise::kNormal ? NoiseScheme::kNormal : NoiseScheme::kRademacher,
          static_cast<uint32_t>(config.rank), std::move(tensors)};
}

void LossEstimate::Prepare() {
  if (gradient_ == nullptr) {
    gradient_ = std::make_unique<StagedGradient>(perturbation_.num_elements());
  }
}

void LossEstimate::Set(const SearchOrder& order) {
  generation_ = order.generation;
  sigma_ = order.sigma;
  shaped_ = order.shaped;
}

void LossEstimate::AddStages(const StepOrder& /*order*/, std::shared_ptr<const GroupMap> map,
                             Work& work) {
  gradient_->Begin(std::move(map));
  work.AddShards(gradient_->size(), [this](Shard shard) {
    const absl::Span<float> view = View(gradient_->values(), shard);
    const std::span<float> to(view.data(), view.size());
    if (shaped_->kept_pair.has_value()) {
      perturbation_.Displacement({generation_, *shaped_->kept_pair}, sigma_, shard.begin, to);
      Negate(view);
    } else {
      perturbation_.Estimate(generation_, shaped_->weights, shaped_->factor, shard.begin, to);
    }
    gradient_->Measure(shard);
  });
}

}  // namespace talweg::core
