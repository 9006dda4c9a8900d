// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/gradient_descent.h"

#include "core/kernels/gradient_descent_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"
#include "core/optimizers/shard_view.h"

namespace talweg::core {

uint64_t GradientDescent::StateBytes(const GradientDescentConfig&, uint64_t) { return 0; }

GradientDescent::GradientDescent(const GradientDescentConfig&, size_t) {}

void GradientDescent::Configure(const Config&) {}

void GradientDescent::BeginStep(const StepContext& step) { rate_ = ToFloat(step.learning_rate); }

void GradientDescent::Apply(Shard shard, absl::Span<const float> gradient,
                            absl::Span<const float> from, absl::Span<float> to) {
  GradientDescentUpdate(rate_, ChooseStores(from, to), View(gradient, shard), View(from, shard),
                        View(to, shard));
}

void GradientDescent::VisitState(StateVisitor&) {}

}  // namespace talweg::core
