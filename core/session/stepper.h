// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of a step: from one version of the parameters, and a gradient, to the next
// version.
//
// One order everywhere, PyTorch's: the gradient is clipped by norm, then by value; coupled decay is
// added; the method steps, with decoupled decay inside; the running average follows. Clipping by
// norm multiplies with min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does. A
// group that has a max_norm of its own is clipped by its own norm; all others share one norm.
// Frozen tensors are in no norm.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/base/state_visitor.h"
#include "core/kernels/prepare_gradient.h"
#include "core/optimizers/optimizer.h"
#include "core/rounds/event.h"
#include "core/session/gradient_source.h"
#include "core/session/parameters.h"
#include "core/session/session_config.h"
#include "core/session/work.h"

namespace talweg::core {

// Thread-compatible, except for the pieces of the work that it describes.
class Stepper {
 public:
  // `config` outlives the stepper and may change between steps (see Configure). The average starts
  // at `initial`.
  Stepper(const SessionConfig& config, const Parameters& initial);

  // Gives the method the hyper-parameters that the configuration has now.
  void Configure();

  // Adds to `work` the stages of `source`, and behind them the stages of the step that `order` asks
  // for. The step reads `from`, which is not written to, and writes `to`, which nobody else reads.
  // `statistics` is null if there are none; the stages that make it are in `work` already. All
  // arguments outlive the work.
  //
  //   stage   what one piece is
  //   average a shard of the statistics; only if there are statistics
  //   apply   a shard: clip, coupled decay, the method
  //   pass    a task of the method, such as one tensor; only if the method looks at whole tensors
  //   finish  a shard: update norm and average, after the passes; without passes, part of apply
  void AddStages(const StepOrder& order, GradientSource& source, GradientSource* statistics,
                 const Parameters& from, Parameters& to, Work& work);
  // The norms and the clipping of the step that has ended and made `made`, and which of its
  // elements are not finite.
  StepTaken Result(const Parameters& made) const;

  // What to tell of the curvature that the last step used; nothing if the method uses none.
  std::optional<CurvatureNumbers> CurvatureReport() const;
  // Begins a refresh of the method's inverses beside the steps; null if none is due.
  std::unique_ptr<InverseRefresh> BeginRefresh();
  // As Curvature::Install.
  bool Install(InverseRefresh& refresh) { return optimizer_->curvature()->Install(refresh); }

  bool HasLookahead() const { return optimizer_->HasLookahead(); }
  // Writes to `to` the point at which the gradient of the coming step is to be taken, if that step
  // has the given rate.
  void Lookahead(double learning_rate, Shard shard, absl::Span<const float> from,
                 absl::Span<float> to) const;
  bool KeepsAverage() const { return average_.size() > 0; }
  absl::Span<const float> average() const { return average_.span(); }

  // Names each slot once: those of the method, then the two of the average. A state of an earlier
  // version lacks the second of these, which then stays at zero.
  void VisitSlots(StateVisitor& visitor);

 private:
  // How a group is stepped.
  struct GroupStep {
    bool frozen = false;
    StepRates rates;
    GradientPreparation preparation;
  };

  GroupStep GroupStepOf(size_t group, double learning_rate) const;
  double OwnMaxNorm(size_t group) const;
  void Measure(const StepOrder& order, const StagedGradient& gradient);
  void Apply(Shard shard, const StagedGradient& gradient, absl::Span<const float> from,
             absl::Span<float> to);
  void Finish(Shard shard, absl::Span<const float> from, absl::Span<float> to);

  const SessionConfig& config_;
  std::unique_ptr<Optimizer> optimizer_;
  AlignedBuffer average_;      // empty if no average is kept
  AlignedBuffer average_low_;  // what float32 cannot hold of the average; empty alike

  // Of the step under way.
  std::vector<GroupStep> group_steps_;
  double gradient_norm_ = 0;
  double clip_factor_ = 1;
  std::vector<double> block_sums_;        // squares of the update
  std::vector<uint32_t> num_non_finite_;  // of the new parameters, in each block
};

}  // namespace talweg::core
