// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/lamb.h"

#include <cmath>

#include "core/base/shard.h"
#include "core/kernels/gradient_descent_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"
#include "core/optimizers/tensor_walk.h"

namespace talweg::core {
namespace {

// Places of `sums_`: each piece starts with a block, with a tensor, or with both.
size_t NumPieces(const Layout& layout) {
  return NumBlocks(layout.num_elements()) + layout.tensors().size() - 1;
}

}  // namespace

uint64_t Lamb::StateBytes(const LambConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float) * 2 + NumPieces(*space.layout) * sizeof(LambSums) +
         space.layout->tensors().size() * sizeof(double);
}

Lamb::Lamb(const LambConfig& config, const ParameterSpace& space)
    : config_(config),
      layout_(space.layout),
      m_(space.num_elements()),
      v_(space.num_elements()),
      sums_(NumPieces(*layout_)),
      ratios_(layout_->tensors().size()) {}

void Lamb::Configure(const Config& config) { config_ = ValueOf<LambConfig>(config); }

void Lamb::BeginStep(uint64_t) {
  beta1_product_ *= config_.beta1;
  beta2_product_ *= config_.beta2;
}

void Lamb::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                 absl::Span<const float> from, absl::Span<float> to) {
  const LambCoefficients step = {.keep_m = ToFloat(config_.beta1),
                                 .take_m = ToFloat(1 - config_.beta1),
                                 .keep_v = ToFloat(config_.beta2),
                                 .take_v = ToFloat(1 - config_.beta2),
                                 .m_scale = ToFloat(1 / (1 - beta1_product_)),
                                 .root_scale = ToFloat(1 / std::sqrt(1 - beta2_product_)),
                                 .epsilon = ToEpsilon(config_.epsilon),
                                 .decay = ToFloat(rates.decay)};
  const Stores stores = ChooseStores(from, to);
  ForEachTensor(*layout_, shard, [&](Shard part, size_t tensor) {
    ForEachBlock(part, [&](Shard piece) {
      sums_[piece.begin / kBlock + tensor] = LambDirection(
          step, stores, gradient.subspan(piece.begin - shard.begin, piece.size()),
          View(from, piece), View(to, piece), View(m_.span(), piece), View(v_.span(), piece));
    });
  });
}

size_t Lamb::NumTasks(size_t) const { return NumShards(layout_->num_elements()); }

void Lamb::EndPass(size_t pass) {
  if (pass > 0) return;
  for (size_t tensor = 0; tensor < ratios_.size(); ++tensor) {
    const uint64_t begin = layout_->offsets()[tensor];
    const uint64_t last = begin + layout_->size_of(tensor) - 1;
    LambSums all;
    for (size_t block = begin / kBlock; block <= last / kBlock; ++block) {
      all.parameters += sums_[block + tensor].parameters;
      all.direction += sums_[block + tensor].direction;
    }
    const bool has_ratio = all.parameters > 0 && all.direction > 0;
    ratios_[tensor] = has_ratio ? std::sqrt(all.parameters) / std::sqrt(all.direction) : 1;
  }
}

void Lamb::RunTask(size_t, size_t task, RatesOfTensor rates, absl::Span<const float> from,
                   absl::Span<float> to) {
  const Shard shard = ShardAt(task, layout_->num_elements());
  ForEachTensor(*layout_, shard, [&](Shard part, size_t tensor) {
    const StepRates* rates_here = rates(tensor);
    if (rates_here == nullptr) return;
    GradientDescentUpdate(1, ToFloat(rates_here->learning_rate * ratios_[tensor]), Stores::kCached,
                          View(absl::MakeConstSpan(to), part), View(from, part), View(to, part));
  });
}

uint64_t Lamb::ScratchBytes() const {
  return sums_.size() * sizeof(LambSums) + ratios_.size() * sizeof(double);
}

void Lamb::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Slot("v", v_.span());
  visitor.Scalar("beta1_product", beta1_product_);
  visitor.Scalar("beta2_product", beta2_product_);
}

}  // namespace talweg::core
