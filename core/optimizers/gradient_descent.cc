// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/gradient_descent.h"

#include "core/base/shard.h"
#include "core/kernels/gradient_descent_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {

uint64_t GradientDescent::StateBytes(const GradientDescentConfig&, const ParameterSpace&) {
  return 0;
}

GradientDescent::GradientDescent(const GradientDescentConfig&, const ParameterSpace&) {}

void GradientDescent::Configure(const Config&) {}

void GradientDescent::BeginStep(uint64_t) {}

void GradientDescent::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                            absl::Span<const float> from, absl::Span<float> to) {
  GradientDescentUpdate(KeepOf(rates), ToFloat(rates.learning_rate), ChooseStores(from, to),
                        gradient, View(from, shard), View(to, shard));
}

void GradientDescent::VisitState(StateVisitor&) {}

}  // namespace talweg::core
