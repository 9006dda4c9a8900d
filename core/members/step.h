// SPDX-License-Identifier: Apache-2.0
//
// A step: how a policy orders it, and what it hears when the step is taken. Values that every
// policy that makes versions has in common.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/sha256.h"
#include "core/members/answer.h"

namespace talweg::core {

// Time has passed: everything that is due by now happens.
struct Tick {};

// How the loss of one batch was changed by the step that made a version: both losses are those of
// the same samples, per sample, with what the coupled decay adds to them.
struct LossChange {
  uint64_t version = 0;  // that the step made
  double before = 0;     // at version - 1
  double after = 0;      // at version
  bool operator==(const LossChange&) const = default;
};

// The step to take.
struct StepOrder {
  uint64_t number = 0;        // it makes this version
  double learning_rate = 0;   // eta
  uint32_t contributors = 1;  // contributions that its gradient is reduced from
  double total_weight = 1;    // divisor of the weighted sum
  // The contributions in the order of their workers' names, each by the place in which it was
  // folded, from 0 on. Set only if all are staged and the order counts.
  std::vector<uint32_t> by_worker;
  uint32_t trim = 0;  // contributions that a trimmed mean leaves out at each end
  // Statistics that came for this version: how many contributions, and the sum of their samples.
  uint32_t num_statistics = 0;
  double num_samples = 0;
  std::optional<LossChange> loss_change;  // what a contribution told of an earlier step
};

// The step that was ordered is taken, and the parameters of the next version stand.
struct StepTaken {
  double gradient_norm = 0;       // Euclidean, of what is trained, before it was clipped
  double clip_factor = 1;         // the smallest factor by which clipping by norm scaled a gradient
  double update_norm = 0;         // Euclidean
  uint64_t num_non_finite = 0;    // elements of the new parameters that are not finite
  uint64_t first_non_finite = 0;  // the first of them, if there is one
  std::optional<Sha256> state_digest = std::nullopt;  // if the session wants one of this version
  // Only of a session that searches.
  double weight_norm = 0;            // Euclidean, of the new parameters
  uint32_t parameters_checksum = 0;  // see ParameterMeasures
  // Only of a method that uses curvature.
  std::shared_ptr<const CurvatureNumbers> curvature = nullptr;
};

}  // namespace talweg::core
