// SPDX-License-Identifier: Apache-2.0
//
// The loop of a worker that searches: it asks, pulls, evaluates and tells, until the search is
// finished. What is evaluated is the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "core/noise/perturbation.h"

namespace talweg {

// One lease, and what it takes to evaluate it. Borrows.
struct LeasedWork {
  const v1::EvaluationLease& lease;
  const core::Perturbation& perturbation;
  absl::Span<const float> parameters;  // W, of the lease's version
};

// Appends the losses that the lease asks for, in the order of TellRequest::losses.
using EvaluateLease =
    std::function<absl::Status(const LeasedWork& work, std::vector<double>& losses)>;

struct LeaseLoop {
  uint32_t capacity = 1;  // pairs that are asked for at a time, >= 1
  EvaluateLease evaluate;
  uint64_t num_examples = 0;  // of one evaluation, for the report
  // Called with the parameters of each version that was pulled, and in the end with those of the
  // last one. A worker that is alone sees every version once. Unset: the last version is not
  // pulled.
  std::function<absl::Status(uint64_t version, absl::Span<const float> parameters)> see;
  std::function<bool()> stop;  // asked before each lease; true ends the loop. Unset: go on
};

// Works for `session`, which joined a session of `layout`. CANCELLED if `stop` said so.
absl::Status EvaluateLeases(Session& session, const v1::Layout& layout, const LeaseLoop& loop);

// The same as the only worker, in a session that `request` asks for and that is deleted in the end,
// whatever happened. Asks for all pairs of a generation at a time, whatever capacity `loop` says.
absl::Status SearchAlone(const Client& client, const v1::CreateSessionRequest& request,
                         LeaseLoop loop);

// Evaluates a lease point by point: `loss` at W, or at W + dW and, with DIFFERENCES_CENTRAL, at
// W - dW. Not for DIFFERENCES_DIRECTIONAL.
EvaluateLease PointByPoint(
    std::function<double(absl::Span<const float> point, uint64_t data_seed)> loss);

}  // namespace talweg
