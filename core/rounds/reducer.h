// SPDX-License-Identifier: Apache-2.0
//
// The contributions of a round on their way to one gradient.
//
//   MEAN, ANY         float32(round(exact sum of w g) / round(exact sum of w)), in no order
//   MEAN, BY_WORKER   float32((sum of w g in float64, in the order of names) / sum of w)
//   TRIMMED_MEAN      of each element, the mean without the `trim` largest and smallest values
//   MEDIAN            of each element
//
// The exact sum is folded into accumulators, with several contributions per pass. The other
// reductions keep every contribution until the round closes. AggregationConfig::RoundBytes says how
// much memory this takes. The memory is taken when it is first needed, and kept.
//
// A fold or a close is done shard by shard: first Begin…, then FoldShard or CloseShard once for
// each shard of ShardAt, on any threads at the same time, and last End…. Contributions are numbered
// in the order in which they are handed in, and a step order names them by these numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/kernels/exact_sum.h"
#include "core/kernels/weighted_vector.h"
#include "core/rounds/event.h"

namespace talweg::core {

// Thread-compatible, except for FoldShard and CloseShard.
class Reducer {
 public:
  Reducer(const AggregationConfig& config, size_t num_elements);

  // Takes the memory that one more contribution may need if `num_waiting` are to be folded before
  // it. If max_workers contributions are staged it takes none, because no other will be folded.
  // Throws std::bad_alloc.
  void Prepare(size_t num_waiting);

  // Adds contributions, [num_elements] each. They must live until EndFold.
  void BeginFold(std::vector<WeightedVector> contributions);
  void FoldShard(size_t index);
  void EndFold();

  // Reduces what was folded, and `contributions` after it, to `mean`, [num_elements], which must be
  // none of them. EndClose forgets the round.
  void BeginClose(const StepOrder& order, std::vector<WeightedVector> contributions,
                  absl::Span<float> mean);
  void CloseShard(size_t index);
  void EndClose();

  // Forgets the round.
  void Reset();

  // Bytes that this round takes beyond AggregationConfig::RoundBytes, for elements whose terms lie
  // further apart than two doubles can hold. No fold may be under way.
  uint64_t ExtraBytes() const;

 private:
  const bool stages_all_;
  const Reduction reduction_;
  const size_t max_staged_;
  const size_t num_elements_;

  // The exact sum.
  AlignedVector<double> high_, low_;
  std::vector<std::vector<Residue>> residues_;  // by shard
  bool empty_ = true;                           // Nothing was folded yet.

  // Or all contributions. The first ones are in use.
  std::vector<AlignedBuffer> staged_;
  std::vector<float> weights_;

  // Of the work under way.
  std::vector<WeightedVector> contributions_;
  StepOrder order_;
  absl::Span<float> mean_;
};

}  // namespace talweg::core
