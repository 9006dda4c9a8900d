// SPDX-License-Identifier: Apache-2.0
//
// The contributions of a round on their way to one gradient.
//
//   MEAN, ANY         float32(round(exact sum of w g) / round(exact sum of w)): no order in it
//   MEAN, BY_WORKER   float32((sum of w g in float64, in the order of names) / sum of w)
//   TRIMMED_MEAN      of each element, the mean without the `trim` largest and smallest values
//   MEDIAN            of each element
//
// The exact sum is folded into accumulators, several contributions a pass; the others keep every
// contribution until the round closes. Memory is as AggregationConfig::RoundBytes says, taken when
// it is first needed and kept.
//
// A fold or a close is done shard by shard: Begin…, then FoldShard or CloseShard once for each
// shard of ShardAt, on any threads at the same time, then End…. Contributions are numbered in the
// order in which they are handed in; a step order names them so.
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

// Thread-compatible, but for FoldShard and CloseShard.
class Reducer {
 public:
  Reducer(const AggregationConfig& config, size_t num_elements);

  // Takes the memory that one more contribution may need, where `num_waiting` are to be folded
  // before it; none where max_workers are staged, for then it will not be folded. Throws
  // std::bad_alloc.
  void Prepare(size_t num_waiting);

  // Adds contributions, [num_elements] each, which live until EndFold.
  void BeginFold(std::vector<WeightedVector> contributions);
  void FoldShard(size_t index);
  void EndFold();

  // Reduces what was folded, and `contributions` behind it, to `mean`, [num_elements], which is
  // none of them. EndClose forgets the round.
  void BeginClose(const StepOrder& order, std::vector<WeightedVector> contributions,
                  absl::Span<float> mean);
  void CloseShard(size_t index);
  void EndClose();

  // Forgets the round.
  void Reset();

  // Bytes that this round takes beyond AggregationConfig::RoundBytes: of elements whose terms lie
  // further apart than two doubles hold. No fold may be under way.
  uint64_t ExtraBytes() const;

 private:
  const bool stages_all_;
  const Reduction reduction_;
  const size_t max_staged_;
  const size_t num_elements_;

  // The exact sum.
  AlignedVector<double> high_, low_;
  std::vector<std::vector<Residue>> residues_;  // by shard
  bool empty_ = true;                           // nothing was folded yet

  // Or all contributions, of which the first ones are in use.
  std::vector<AlignedBuffer> staged_;
  std::vector<float> weights_;

  // Of the work under way.
  std::vector<WeightedVector> contributions_;
  StepOrder order_;
  absl::Span<float> mean_;
};

}  // namespace talweg::core
