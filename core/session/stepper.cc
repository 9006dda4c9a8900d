// SPDX-License-Identifier: Apache-2.0
#include "core/session/stepper.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/kernels/average_update.h"
#include "core/kernels/squared_norm.h"
#include "core/optimizers/rounding.h"

namespace talweg::core {
namespace {

// The product of two numbers that are finite and not negative. It is the largest double instead of
// an infinity, because an infinity times zero would be NaN.
double FiniteProduct(double a, double b) {
  return std::min(a * b, std::numeric_limits<double>::max());
}

bool IsFinite(float value) { return std::isfinite(value); }

uint32_t CountNonFinite(absl::Span<const float> values) {
  return static_cast<uint32_t>(std::count_if(values.begin(), values.end(), std::not_fn(IsFinite)));
}

}  // namespace

Stepper::Stepper(const SessionConfig& config, const Parameters& initial)
    : config_(config),
      optimizer_(config.method->create(*config.optimizer, config.Space())),
      average_(config.average.value().decay > 0 ? initial.values.size() : 0),
      average_low_(average_.size()),
      block_sums_(NumBlocks(initial.values.size())),
      num_non_finite_(NumBlocks(initial.values.size())) {
  if (!KeepsAverage()) return;
  const absl::Span<const float> values = initial.values.span();
  std::copy(values.begin(), values.end(), average_.data());
}

void Stepper::Configure() { optimizer_->Configure(*config_.optimizer); }

double Stepper::OwnMaxNorm(size_t group) const {
  return group == 0 ? 0 : config_.groups[group - 1].config.value().max_norm;
}

Stepper::GroupStep Stepper::GroupStepOf(size_t group, double learning_rate) const {
  const GroupConfig settings =
      group == 0 ? GroupConfig{} : config_.groups[group - 1].config.value();
  const WeightDecayConfig& decay = config_.weight_decay.value();
  GroupStep step;
  step.frozen = settings.frozen;
  step.rates.learning_rate = FiniteProduct(learning_rate, settings.learning_rate_factor);
  step.rates.decay = FiniteProduct(decay.decoupled, settings.decay_factor);
  const double max_value =
      settings.max_value > 0 ? settings.max_value : config_.clipping.value().max_value;
  if (max_value > 0) step.preparation.max_value = ToFloat(max_value);
  step.rates.coupled = FiniteProduct(decay.coupled, settings.decay_factor);
  step.preparation.decay = ToFloat(step.rates.coupled);
  return step;
}

void Stepper::AddStages(const StepOrder& order, GradientSource& source, GradientSource* statistics,
                        const Parameters& from, Parameters& to, Work& work) {
  if (order.loss_change.has_value()) optimizer_->TakeLossChange(*order.loss_change);
  optimizer_->BeginStep(order.number);
  if (statistics != nullptr) {
    Curvature& curvature = *optimizer_->curvature();
    curvature.BeginAverage();
    work.AddShards(curvature.num_statistics(), [&curvature, statistics](Shard shard) {
      curvature.AverageShard(shard, statistics->gradient().values());
    });
  }
  source.AddStages(order, config_.group_map, work);
  const size_t num_elements = to.values.size();
  const size_t num_passes = optimizer_->NumPasses();
  const absl::Span<const float> old_values = from.values.span();
  const absl::Span<float> new_values = to.values.span();
  work.AddShards(
      num_elements,
      [this, &source, num_passes, old_values, new_values](Shard shard) {
        Apply(shard, source.gradient(), old_values, new_values);
        if (num_passes == 0) Finish(shard, old_values, new_values);
      },
      [this, &source, order] { Measure(order, source.gradient()); },
      [this] { optimizer_->EndPass(0); });
  for (size_t pass = 0; pass < num_passes; ++pass) {
    work.Add({[this, pass] { return optimizer_->NumTasks(pass); },
              [this, pass, old_values, new_values](size_t task) {
                const auto rates_of = [this](size_t tensor) {
                  const GroupStep& step = group_steps_[config_.group_map->GroupOfTensor(tensor)];
                  return step.frozen ? nullptr : &step.rates;
                };
                optimizer_->RunTask(pass, task, rates_of, old_values, new_values);
              },
              {},
              [this, pass] { optimizer_->EndPass(pass + 1); }});
  }
  if (num_passes == 0) return;
  work.AddShards(num_elements, [this, old_values, new_values](Shard shard) {
    Finish(shard, old_values, new_values);
  });
}

void Stepper::Measure(const StepOrder& order, const StagedGradient& gradient) {
  const std::vector<double> sums = gradient.SquaredNorms();
  const auto factor_of = [](double max_norm, double sum) {
    return max_norm > 0 ? std::min(1.0, max_norm / (std::sqrt(sum) + 1e-6)) : 1.0;
  };
  group_steps_.clear();
  clip_factor_ = 1;
  double all = 0;
  double shared = 0;
  for (size_t group = 0; group < sums.size(); ++group) {
    group_steps_.push_back(GroupStepOf(group, order.learning_rate));
    if (group_steps_.back().frozen) continue;
    all += sums[group];
    if (OwnMaxNorm(group) == 0) shared += sums[group];
  }
  for (size_t group = 0; group < sums.size(); ++group) {
    if (group_steps_[group].frozen) continue;
    const double own = OwnMaxNorm(group);
    const double factor = own > 0 ? factor_of(own, sums[group])
                                  : factor_of(config_.clipping.value().max_norm, shared);
    group_steps_[group].preparation.factor = ToFloat(factor);
    clip_factor_ = std::min(clip_factor_, factor);
  }
  gradient_norm_ = std::sqrt(all);
}

void Stepper::Apply(Shard shard, const StagedGradient& gradient, absl::Span<const float> from,
                    absl::Span<float> to) {
  const absl::Span<const float> values = gradient.values();
  config_.group_map->ForEachRun(shard, [&](Shard part, size_t group) {
    const GroupStep& step = group_steps_[group];
    if (step.frozen) {
      std::copy(from.begin() + part.begin, from.begin() + part.end, to.begin() + part.begin);
    } else if (step.preparation.IsIdentity()) {
      optimizer_->Apply(step.rates, part, View(values, part), from, to);
    } else {
      // One block at a time: what is prepared stays in the nearest cache.
      alignas(AlignedBuffer::kAlignment) float prepared[kBlock];
      ForEachBlock(part, [&](Shard block) {
        const absl::Span<float> ready(prepared, block.size());
        PrepareGradient(step.preparation, View(values, block), View(from, block), ready);
        optimizer_->Apply(step.rates, block, ready, from, to);
      });
    }
  });
}

void Stepper::Finish(Shard shard, absl::Span<const float> from, absl::Span<float> to) {
  const absl::Span<const float> updated = to;
  ForEachBlock(shard, [&](Shard block) {
    const size_t index = block.begin / kBlock;
    block_sums_[index] = SquaredDistance(View(updated, block), View(from, block));
    // A sum that is finite says that every element is.
    num_non_finite_[index] =
        std::isfinite(block_sums_[index]) ? 0 : CountNonFinite(View(updated, block));
  });
  if (!KeepsAverage()) return;
  AverageUpdate(ToFloat(1 - config_.average.value().decay), View(updated, shard),
                View(average_.span(), shard), View(average_low_.span(), shard));
}

StepTaken Stepper::Result(const Parameters& made) const {
  double sum = 0;
  for (const double block_sum : block_sums_) sum += block_sum;
  StepTaken taken{gradient_norm_, clip_factor_, std::sqrt(sum)};
  for (size_t block = 0; block < num_non_finite_.size(); ++block) {
    if (num_non_finite_[block] == 0) continue;
    if (taken.num_non_finite == 0) {
      const absl::Span<const float> values = made.values.span();
      const auto begin = values.begin() + static_cast<ptrdiff_t>(block * kBlock);
      taken.first_non_finite =
          static_cast<uint64_t>(std::find_if_not(begin, values.end(), IsFinite) - values.begin());
    }
    taken.num_non_finite += num_non_finite_[block];
  }
  return taken;
}

std::optional<CurvatureNumbers> Stepper::CurvatureReport() const {
  if (optimizer_->curvature() == nullptr) return std::nullopt;
  return optimizer_->CurvatureReport();
}

std::unique_ptr<InverseRefresh> Stepper::BeginRefresh() {
  const Curvature* curvature = optimizer_->curvature();
  if (curvature == nullptr || !curvature->WantsRefresh()) return nullptr;
  return optimizer_->TakeRefresh();
}

void Stepper::Lookahead(double learning_rate, Shard shard, absl::Span<const float> from,
                        absl::Span<float> to) const {
  config_.group_map->ForEachRun(shard, [&](Shard part, size_t group) {
    const GroupStep step = GroupStepOf(group, learning_rate);
    if (!step.frozen) optimizer_->Lookahead(step.rates, part, from, to);
  });
}

void Stepper::VisitSlots(StateVisitor& visitor) {
  optimizer_->VisitState(visitor);
  if (!KeepsAverage()) return;
  visitor.Slot("average", average_.span());
  if (!visitor.Lacks("average_low")) visitor.Slot("average_low", average_low_.span());
}

}  // namespace talweg::core
