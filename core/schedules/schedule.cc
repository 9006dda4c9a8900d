// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/schedule.h"

#include "core/base/check.h"
#include "core/schedules/constant.h"
#include "core/schedules/cosine.h"
#include "core/schedules/inverse_sqrt.h"
#include "core/schedules/polynomial.h"
#include "core/schedules/step.h"

namespace talweg::core {
namespace {

// Row of a config C with `double C::At(uint64_t step) const`.
template <class C>
constexpr DecayKind Row(absl::string_view name) {
  return {name, []() -> std::unique_ptr<Config> { return std::make_unique<ConfigOf<C>>(); },
          [](const Config& config, uint64_t step) { return ValueOf<C>(config).At(step); }};
}

constexpr DecayKind kKinds[] = {
    Row<ConstantDecay>("constant"), Row<InverseSqrtDecay>("inverse_sqrt"), Row<StepDecay>("step"),
    Row<CosineDecay>("cosine"),     Row<PolynomialDecay>("polynomial"),
};

}  // namespace

absl::Span<const DecayKind> DecayKinds() { return kKinds; }

const DecayKind* FindDecayKind(absl::string_view name) {
  for (const DecayKind& kind : kKinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

double Schedule::LearningRate(uint64_t step) const {
  TALWEG_CHECK(step >= 1);
  const RateConfig& rate = rate_.value();
  double eta = rate.learning_rate;
  if (step < rate.warmup_steps) {
    eta *= static_cast<double>(step) / static_cast<double>(rate.warmup_steps);
  }
  return eta * kind_->decay(*config_, step);
}

}  // namespace talweg::core
