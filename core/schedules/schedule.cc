// SPDX-License-Identifier: Apache-2.0
#include "core/schedules/schedule.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/schedules/constant.h"
#include "core/schedules/cosine.h"
#include "core/schedules/inverse_sqrt.h"
#include "core/schedules/polynomial.h"
#include "core/schedules/step.h"

namespace talweg::core {
namespace {

// Row of a config C with `double C::At(DecayPoint point) const`. C may have a field total_steps.
template <class C>
constexpr DecayKind Row(absl::string_view name) {
  DecayKind kind = {
      .name = name,
      .default_config = []() -> std::unique_ptr<Config> { return std::make_unique<ConfigOf<C>>(); },
      .decay = [](const Config& config, DecayPoint point) { return ValueOf<C>(config).At(point); },
      .total_steps = nullptr};
  if constexpr (requires { &C::total_steps; }) {
    kind.total_steps = [](const Config& config) { return ValueOf<C>(config).total_steps; };
  }
  return kind;
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
  if (step < rate.warmup_steps) {
    return rate.learning_rate *
           (static_cast<double>(step) / static_cast<double>(rate.warmup_steps));
  }
  const uint64_t peak = std::max<uint64_t>(rate.warmup_steps, 1);
  return rate.learning_rate * kind_->decay(*config_, {step, peak});
}

absl::Status Schedule::CheckWarmup() const {
  if (kind_->total_steps == nullptr) return absl::OkStatus();
  const uint64_t total_steps = kind_->total_steps(*config_);
  const uint64_t warmup_steps = rate_.value().warmup_steps;
  if (total_steps > warmup_steps) return absl::OkStatus();
  return MakeError(Reason::kHyperparameterOutOfRange,
                   absl::StrCat("total_steps is ", total_steps, ", allowed: more than the ",
                                warmup_steps, " of warmup_steps, which it includes"),
                   absl::StrCat(kind_->name, ".total_steps"));
}

}  // namespace talweg::core
