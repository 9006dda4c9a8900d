// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/adam.h"

#include <algorithm>
#include <cmath>

#include "core/base/shard.h"
#include "core/kernels/adam_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {

uint64_t Adam::StateBytes(const AdamConfig& config, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float) * (config.amsgrad ? 3 : 2);
}

Adam::Adam(const AdamConfig& config, const ParameterSpace& space)
    : config_(config),
      m_(space.num_elements()),
      v_(space.num_elements()),
      v_max_(config.amsgrad ? space.num_elements() : 0) {
  if (config.dialect != Dialect::kFederated) return;
  const float initial = ToFloat(config.epsilon * config.epsilon);
  std::fill_n(v_.data(), v_.size(), initial);
  std::fill_n(v_max_.data(), v_max_.size(), initial);
}

void Adam::Configure(const Config& config) { Take(ValueOf<AdamConfig>(config)); }

void Adam::BeginStep(uint64_t) {
  beta1_product_ *= config_.beta1;
  beta2_product_ *= config_.beta2;
}

void Adam::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                 absl::Span<const float> from, absl::Span<float> to) {
  const bool corrects = config_.dialect != Dialect::kFederated;
  const double c1 = corrects ? 1 - beta1_product_ : 1;
  // Square roots are correctly rounded on every machine.
  const double root_c2 = corrects ? std::sqrt(1 - beta2_product_) : 1;
  // KERAS corrects the rate, the others correct the root of v.
  const bool corrects_rate = config_.dialect == Dialect::kKeras;
  const double eta = rates.learning_rate;
  const AdamCoefficients step = {.keep_m = ToFloat(config_.beta1),
                                 .take_m = ToFloat(1 - config_.beta1),
                                 .keep_v = ToFloat(config_.beta2),
                                 .take_v = ToFloat(1 - config_.beta2),
                                 .rate = ToFloat(corrects_rate ? eta * root_c2 / c1 : eta / c1),
                                 .root_scale = ToFloat(corrects_rate ? 1 : 1 / root_c2),
                                 .epsilon = ToEpsilon(config_.epsilon),
                                 .keep = KeepOf(rates)};
  AdamUpdate(step, ChooseStores(from, to), gradient, View(from, shard), View(to, shard),
             View(m_.span(), shard), View(v_.span(), shard),
             config_.amsgrad ? View(v_max_.span(), shard) : absl::Span<float>());
}

void Adam::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Slot("v", v_.span());
  if (config_.amsgrad) visitor.Slot("v_max", v_max_.span());
  visitor.Scalar("beta1_product", beta1_product_);
  visitor.Scalar("beta2_product", beta2_product_);
}

}  // namespace talweg::core
