// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/lion.h"

#include "core/base/shard.h"
#include "core/kernels/lion_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {

uint64_t Lion::StateBytes(const LionConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float);
}

Lion::Lion(const LionConfig& config, const ParameterSpace& space)
    : config_(config), m_(space.num_elements()) {}

void Lion::Configure(const Config& config) { config_ = ValueOf<LionConfig>(config); }

void Lion::BeginStep(uint64_t) {}

void Lion::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                 absl::Span<const float> from, absl::Span<float> to) {
  const LionCoefficients step = {.blend_m = ToFloat(config_.beta1),
                                 .blend_g = ToFloat(1 - config_.beta1),
                                 .keep_m = ToFloat(config_.beta2),
                                 .take_m = ToFloat(1 - config_.beta2),
                                 .rate = ToFloat(rates.learning_rate),
                                 .keep = KeepOf(rates)};
  LionUpdate(step, ChooseStores(from, to), gradient, View(from, shard), View(to, shard),
             View(m_.span(), shard));
}

void Lion::VisitState(StateVisitor& visitor) { visitor.Slot("m", m_.span()); }

}  // namespace talweg::core
