// SPDX-License-Identifier: Apache-2.0
//
// A gradient on its way from the wire into a step. It is copied once to aligned memory, and it is
// measured in the same pass.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/base/dtype.h"
#include "core/base/shard.h"
#include "core/members/step.h"
#include "core/session/parameter_groups.h"

namespace talweg::core {

// Thread-compatible, except that calls of Stage, or of Measure, may run on disjoint shards at the
// same time. The object may be used again for the next gradient of the same size.
class StagedGradient {
 public:
  explicit StagedGradient(size_t num_elements);

  // Begins a new gradient. From here on, sums are taken over the pieces of `map`, which has the
  // same number of elements.
  void Begin(std::shared_ptr<const GroupMap> map);

  // Copies the elements of `shard` from `bytes` and measures them. `bytes` has the elements of that
  // shard alone, little-endian, with any alignment. The shard consists of whole blocks.
  void Stage(Shard shard, Dtype dtype, const char* bytes);

  // Copies and measures the next elements, however many they are; the first call after Begin starts
  // at element 0. Append is for a gradient that comes in order and in runs of any length, on one
  // thread at a time. A block is measured once, when it is whole.
  void Append(EncodedVector elements);

  // Measures elements that stand in values() already.
  void Measure(Shard shard);

  // The results of measuring. Call these functions only when every element was measured. Squares
  // are summed in double, piece by piece, in the order of the elements.
  bool finite() const;  // Whether there is no NaN and no infinity in the gradient.
  // The first element that is not finite; size() if there is none.
  size_t FirstNonFinite() const;
  // Whether some elements came in a dtype whose largest number is below that of float32.
  bool is_narrow() const { return is_narrow_.load(std::memory_order_relaxed); }
  // The sum of the squares of each group.
  std::vector<double> SquaredNorms() const;
  // CRC32C over the CRC32Cs of the blocks as float32, in order.
  uint32_t Digest() const;

  const GroupMap* map() const { return map_.get(); }
  absl::Span<float> values() { return values_.span(); }
  absl::Span<const float> values() const { return values_.span(); }
  size_t size() const { return values_.size(); }

 private:
  void FinishBlock(Shard block);

  AlignedBuffer values_;
  size_t num_appended_ = 0;
  std::atomic<bool> is_narrow_ = false;
  std::shared_ptr<const GroupMap> map_;
  std::vector<double> piece_sums_;       // of squares
  std::vector<uint32_t> block_digests_;  // CRC32C
};

// The digest of a whole contribution. A repeat must agree with the first contribution in all of
// these arguments. Losses, NaN among them, are compared by their bits. An abstention has no
// gradient, and neither have statistics that come alone: their `gradient_digest` is 0.
// `statistics_digest` is that of the statistics, if there are any; `loss_change` is what it told of
// an earlier step.
uint32_t PayloadDigest(uint32_t gradient_digest, uint64_t base_version,
                       absl::Span<const double> losses, float weight = 1,
                       bool is_difference = false, bool closes_round = false, bool abstains = false,
                       std::optional<uint32_t> statistics_digest = std::nullopt,
                       const std::optional<LossChange>& loss_change = std::nullopt);

}  // namespace talweg::core
