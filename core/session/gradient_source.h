// SPDX-License-Identifier: Apache-2.0
//
// Where the gradient of a step comes from: one contribution, or a reduced round. What follows
// (clipping, decay, the method, the average) is the same for every source.
#pragma once

#include <memory>
#include <utility>

#include "core/base/shard.h"
#include "core/rounds/event.h"
#include "core/session/parameter_groups.h"
#include "core/session/staged_gradient.h"
#include "core/session/work.h"

namespace talweg::core {

// Thread-compatible.
class GradientSource {
 public:
  virtual ~GradientSource() = default;

  // Adds the stages that make the gradient which `order` asks for and measure it by the pieces of
  // `map`. Adds no stage if the gradient is ready as it is.
  virtual void AddStages(const StepOrder& order, std::shared_ptr<const GroupMap> map,
                         Work& work) = 0;
  // The gradient, [num_elements]. It is whole and measured once these stages have ended.
  virtual StagedGradient& gradient() = 0;
  // The step was taken, and the source is not needed any more.
  virtual void Release() = 0;
};

// The gradient of a round of one contribution, as the contribution brought it.
class SingleContribution final : public GradientSource {
 public:
  explicit SingleContribution(std::shared_ptr<StagedGradient> gradient)
      : gradient_(std::move(gradient)) {}

  // Measures the gradient anew if the groups have changed since it was staged.
  void AddStages(const StepOrder& /*order*/, std::shared_ptr<const GroupMap> map,
                 Work& work) override {
    if (gradient_->map() == map.get()) return;
    gradient_->Begin(std::move(map));
    work.AddShards(gradient_->size(), [this](Shard shard) { gradient_->Measure(shard); });
  }
  StagedGradient& gradient() override { return *gradient_; }
  void Release() override { gradient_.reset(); }

 private:
  std::shared_ptr<StagedGradient> gradient_;
};

}  // namespace talweg::core
