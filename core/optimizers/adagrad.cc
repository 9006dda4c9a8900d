// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/adagrad.h"

#include <algorithm>

#include "core/base/shard.h"
#include "core/kernels/adagrad_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {

uint64_t Adagrad::StateBytes(const AdagradConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float);
}

Adagrad::Adagrad(const AdagradConfig& config, const ParameterSpace& space)
    : config_(config), v_(space.num_elements()) {
  // If v starts at zero, its memory is not touched before the first step.
  const float initial = ToFloat(config.initial_accumulator);
  if (initial > 0) std::fill_n(v_.data(), v_.size(), initial);
}

void Adagrad::Configure(const Config& config) { config_ = ValueOf<AdagradConfig>(config); }

void Adagrad::BeginStep(uint64_t) {}

void Adagrad::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                    absl::Span<const float> from, absl::Span<float> to) {
  const bool inside = config_.dialect == Dialect::kKeras;
  const float epsilon = ToEpsilon(config_.epsilon);
  const AdagradCoefficients step = {.rate = ToFloat(rates.learning_rate),
                                    .inside = inside ? epsilon : 0,
                                    .outside = inside ? 0 : epsilon,
                                    .keep = KeepOf(rates)};
  AdagradUpdate(step, ChooseStores(from, to), gradient, View(from, shard), View(to, shard),
                View(v_.span(), shard));
}

void Adagrad::VisitState(StateVisitor& visitor) { visitor.Slot("v", v_.span()); }

}  // namespace talweg::core
