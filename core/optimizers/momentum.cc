// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/momentum.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/kernels/momentum_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {
namespace {

// The dialects differ in three numbers.
MomentumCoefficients CoefficientsOf(const MomentumConfig& config, const StepRates& rates,
                                    bool first) {
  const float eta = ToFloat(rates.learning_rate);
  const float keep = KeepOf(rates);
  switch (config.dialect) {
    case Dialect::kTorch:
      if (first) return {0, 1, -eta, keep};
      return {ToFloat(config.beta), ToFloat(1 - config.dampening), -eta, keep};
    case Dialect::kKeras:
      return {ToFloat(config.beta), -eta, 1, keep};
    default:
      return {ToFloat(config.beta), ToFloat(1 - config.beta), -eta, keep};
  }
}

}  // namespace

absl::Status MomentumConfig::Validate() const {
  if (dampening == 0 || dialect == Dialect::kTorch) return absl::OkStatus();
  return MakeError(Reason::kHyperparameterOutOfRange,
                   absl::StrCat("dampening is ", dampening, ", but dialect ", DialectName(dialect),
                                " has none, only TORCH; allowed: 0"),
                   "dampening");
}

uint64_t Momentum::StateBytes(const MomentumConfig&, const ParameterSpace& space) {
  return space.num_elements() * sizeof(float);
}

Momentum::Momentum(const MomentumConfig& config, const ParameterSpace& space)
    : config_(config), m_(space.num_elements()) {}

void Momentum::Configure(const Config& config) { config_ = ValueOf<MomentumConfig>(config); }

void Momentum::BeginStep(uint64_t) {
  first_ = m_is_set_ == 0;
  m_is_set_ = 1;
}

void Momentum::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                     absl::Span<const float> from, absl::Span<float> to) {
  MomentumUpdate(CoefficientsOf(config_, rates, first_), ChooseStores(from, to), gradient,
                 View(from, shard), View(to, shard), View(m_.span(), shard));
}

void Momentum::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Scalar("m_is_set", m_is_set_);
}

}  // namespace talweg::core
