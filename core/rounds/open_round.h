// SPDX-License-Identifier: Apache-2.0
//
// The contributions to the next version, what they add up to, and the workers that wait for the
// close without being part of it: they came too late, or they abstain. Only this room includes this
// file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/kernels/expansion.h"
#include "core/rounds/aggregation_config.h"
#include "core/rounds/event.h"
#include "core/rounds/round_description.h"
#include "core/rounds/round_loss.h"
#include "core/rounds/worker.h"

namespace talweg::core {

struct OpenRound {
  struct Place {
    uint32_t index;  // in the table; valid while the incarnation there is the member's
    uint32_t digest;
  };
  struct Bystander {
    uint32_t index;
    uint64_t incarnation;
  };

  absl::Time first;  // of the first contribution
  std::vector<RoundMember> members;
  std::vector<Place> places;              // of the members
  std::vector<Bystander> bystanders;      // wait for the close and do not count
  std::vector<Bystander> abstainers;      // wait for the close, and nobody waits for them
  WorkerList abstained;                   // of all modes; `count` is that of the abstentions
  uint64_t staleness = 0;                 // the largest
  bool asked_to_close = false;            // by one of the members
  std::optional<LossChange> loss_change;  // of the first member by name that told one
  std::string loss_change_by;             // that member
  ExactSum weight;
  RoundLoss loss;

  // The weight with which a contribution counts.
  static float WeightOf(const Contribution& contribution, uint64_t staleness_of_it,
                        const AggregationConfig& config);

  // A contribution becomes part of the round, with `counted_weight`.
  void Add(uint32_t index, const Contribution& contribution, float counted_weight,
           uint64_t staleness_of_it, Reduction reduction, absl::Time now);
  // The worker abstains: this is said in the record of the version that comes next.
  void NoteAbstention(const std::string& worker);
  // The worker is no part of the round, and is told when the round closes.
  void AddBystander(uint32_t index, const Workers& workers);
  // Only for the mutation kUnfoldAtExpiry: takes the weight of an incarnation back out.
  void Unfold(uint64_t incarnation);
  // Whether no place is left.
  bool IsFull(const AggregationConfig& config) const;
  // Whether anybody has contributed or abstained.
  bool has_begun() const { return !members.empty() || !abstainers.empty(); }
};

// The contribution of a worker that was settled last and is part of no version.
ContributionSettled OutcomeOf(const Worker& worker);

}  // namespace talweg::core
