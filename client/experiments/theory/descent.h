// SPDX-License-Identifier: Apache-2.0
//
// One method on a function of a few numbers. Gradients are taken here; parameters and optimizer
// live on the server, in a session of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct Descent {
  std::string name;  // what the session's id begins with
  v1::Optimizer optimizer;
  v1::Schedule schedule;
  std::vector<float> start;
  uint64_t num_steps = 0;  // at most
  // Take gradients at the point that the server says (Nesterov) instead of at the parameters. Costs
  // one call per step.
  bool lookahead = false;
  // Writes the gradient at `point`.
  std::function<void(absl::Span<const float> point, absl::Span<float> gradient)> gradient;
  // Called with the parameters after `step` steps, from 0 on. False ends the descent.
  std::function<bool(uint64_t step, absl::Span<const float> parameters)> see;
  // Sets the hyper-parameters of the coming step `step`, counted from 1. Unset: they stay. Costs
  // one call per step.
  std::function<void(uint64_t step, v1::UpdateSessionRequest& update)> retune;
  std::function<bool()> stop;  // asked before each step; unset: go on
};

// Runs the descent and deletes the session, whatever happened. CANCELLED if `stop` said so.
absl::Status Descend(const Client& client, const Descent& descent);

}  // namespace talweg
