// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/momentum.h"

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"
#include "core/optimizers/shard_view.h"

namespace talweg::core {
namespace {

// The dialects differ in three numbers.
MomentumCoefficients CoefficientsOf(const MomentumConfig& config, double eta, bool first) {
  switch (config.dialect) {
    case Dialect::kTorch:
      if (first) return {0, 1, -ToFloat(eta)};
      return {ToFloat(config.beta), ToFloat(1 - config.dampening), -ToFloat(eta)};
    case Dialect::kKeras:
      return {ToFloat(config.beta), -ToFloat(eta), 1};
    default:
      return {ToFloat(config.beta), ToFloat(1 - config.beta), -ToFloat(eta)};
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

uint64_t Momentum::StateBytes(const MomentumConfig&, uint64_t num_elements) {
  return num_elements * sizeof(float);
}

Momentum::Momentum(const MomentumConfig& config, size_t num_elements)
    : config_(config), m_(num_elements) {}

void Momentum::Configure(const Config& config) { config_ = ValueOf<MomentumConfig>(config); }

void Momentum::BeginStep(const StepContext& step) {
  step_ = CoefficientsOf(config_, step.learning_rate, m_is_set_ == 0);
  m_is_set_ = 1;
}

void Momentum::Apply(Shard shard, absl::Span<const float> gradient, absl::Span<const float> from,
                     absl::Span<float> to) {
  MomentumUpdate(step_, ChooseStores(from, to), View(gradient, shard), View(from, shard),
                 View(to, shard), View(m_.span(), shard));
}

void Momentum::VisitState(StateVisitor& visitor) {
  visitor.Slot("m", m_.span());
  visitor.Scalar("m_is_set", m_is_set_);
}

}  // namespace talweg::core
