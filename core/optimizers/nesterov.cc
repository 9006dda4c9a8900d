// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/nesterov.h"

#include "core/base/shard.h"
#include "core/kernels/gradient_descent_update.h"
#include "core/kernels/nesterov_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {
namespace {

NesterovCoefficients CoefficientsOf(const NesterovConfig& config, const StepRates& rates,
                                    bool first) {
  const float eta = ToFloat(rates.learning_rate);
  const float beta = ToFloat(config.beta);
  NesterovCoefficients step = {
      .keep_m = beta, .take = 1, .step_m = beta, .step_g = 1, .move = -eta, .keep = KeepOf(rates)};
  switch (config.dialect) {
    case Dialect::kTorch:
      if (first) step.keep_m = 0;
      break;
    case Dialect::kKeras:
      step.take = step.step_g = -eta;
      step.move = 1;
      break;
    default:
      step.take = ToFloat(1 - config.beta);
      step.step_m = 1;
      step.step_g = 0;
  }
  return step;
}

}  // namespace

uint64_t Nesterov::StateBytes(const NesterovConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float);
}

Nesterov::Nesterov(const NesterovConfig& config, const ParameterSpace& space)
    : config_(config), m_(space.num_elements()) {}

void Nesterov::Configure(const Config& config) { config_ = ValueOf<NesterovConfig>(config); }

void Nesterov::BeginStep(uint64_t) {
  first_ = m_is_set_ == 0;
  m_is_set_ = 1;
}

void Nesterov::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                     absl::Span<const float> from, absl::Span<float> to) {
  NesterovUpdate(CoefficientsOf(config_, rates, first_), ChooseStores(from, to), gradient,
                 View(from, shard), View(to, shard), View(m_.span(), shard));
}

bool Nesterov::HasLookahead() const { return config_.dialect == Dialect::kTutorial; }

void Nesterov::Lookahead(const StepRates& coming, Shard shard, absl::Span<const float> from,
                         absl::Span<float> to) const {
  // Gradient descent along m.
  GradientDescentUpdate(/*keep=*/1, ToFloat(coming.learning_rate * config_.beta), Stores::kCached,
                        View(m_.span(), shard), View(from, shard), View(to, shard));
}

void Nesterov::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Scalar("m_is_set", m_is_set_);
}

}  // namespace talweg::core
