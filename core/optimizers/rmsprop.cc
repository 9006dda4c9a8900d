// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/rmsprop.h"

#include <algorithm>

#include "core/base/shard.h"
#include "core/kernels/rmsprop_update.h"
#include "core/optimizers/choose_stores.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {
namespace {

// The same part of a slot, or nothing if the method does not keep the slot.
absl::Span<float> ViewIfAny(AlignedBuffer& slot, Shard shard) {
  return slot.size() > 0 ? View(slot.span(), shard) : absl::Span<float>();
}

}  // namespace

uint64_t Rmsprop::StateBytes(const RmspropConfig& config, const ParameterSpace& space) {
  const uint64_t num_slots = 1 + (config.centered ? 2 : 0) + (config.momentum > 0 ? 1 : 0);
  return space.num_elements() * sizeof(float) * num_slots;
}

Rmsprop::Rmsprop(const RmspropConfig& config, const ParameterSpace& space)
    : config_(config),
      v_(space.num_elements()),
      last_gradient_(config.centered ? space.num_elements() : 0),
      last_offset_(config.centered ? space.num_elements() : 0),
      m_(config.momentum > 0 ? space.num_elements() : 0) {}

void Rmsprop::Configure(const Config& config) { config_ = ValueOf<RmspropConfig>(config); }

void Rmsprop::BeginStep(uint64_t) {}

void Rmsprop::Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
                    absl::Span<const float> from, absl::Span<float> to) {
  const bool keras = config_.dialect == Dialect::kKeras;
  const float eta = ToFloat(rates.learning_rate);
  const float epsilon = ToEpsilon(config_.epsilon);
  // With momentum, KERAS keeps the rate of each step in m, and TORCH takes it out of m.
  const bool rate_in_step = keras || config_.momentum == 0;
  const RmspropCoefficients step = {.keep_v = ToFloat(config_.alpha),
                                    .take_v = ToFloat(1 - config_.alpha),
                                    .take_spread = ToFloat(config_.alpha * (1 - config_.alpha)),
                                    .take = rate_in_step ? eta : 1,
                                    .inside = keras ? epsilon : 0,
                                    .outside = keras ? 0 : epsilon,
                                    .keep_m = ToFloat(config_.momentum),
                                    .move = rate_in_step ? 1 : eta,
                                    .keep = KeepOf(rates)};
  RmspropUpdate(step, ChooseStores(from, to), gradient, View(from, shard), View(to, shard),
                View(v_.span(), shard), ViewIfAny(last_gradient_, shard),
                ViewIfAny(last_offset_, shard), ViewIfAny(m_, shard));
}

void Rmsprop::ReadVAndMean(StateVisitor& reader) {
  reader.Slot("v", v_.span());
  reader.Slot("mean", last_gradient_.span());
  // A last gradient that was the mean itself gives the same d.
  const absl::Span<float> mean = last_gradient_.span();
  for (size_t i = 0; i < v_.size(); ++i) {
    const double spread = v_.data()[i] - static_cast<double>(mean[i]) * mean[i];
    v_.data()[i] = ToFloat(std::max(spread, 0.0));
  }
}

void Rmsprop::VisitState(StateVisitor& visitor) {
  if (!config_.centered) {
    visitor.Slot("v", v_.span());
  } else if (visitor.Lacks("c")) {
    ReadVAndMean(visitor);
  } else {
    visitor.Slot("c", v_.span());
    visitor.Slot("last_gradient", last_gradient_.span());
    visitor.Slot("last_offset", last_offset_.span());
  }
  if (m_.size() > 0) visitor.Slot("m", m_.span());
}

}  // namespace talweg::core
