// SPDX-License-Identifier: Apache-2.0
//
// A gradient on its way from the wire into a step: copied once to aligned memory, and measured in
// the same pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"
#include "core/kernels/dtype.h"
#include "core/session/parameter_groups.h"

namespace talweg::core {

// Thread-compatible, except that Stage, and Measure, may run on disjoint shards at the same time.
// May be used again for the next gradient of the same size.
class StagedGradient {
 public:
  explicit StagedGradient(size_t num_elements);

  // A new gradient. Sums are taken by the pieces of `map`, which is of this size, from here on.
  void Begin(std::shared_ptr<const GroupMap> map);

  // Copies the elements of `shard` out of `bytes`, the elements of that shard alone, little-endian,
  // of any alignment, and measures them. The shard begins and ends with blocks.
  void Stage(Shard shard, Dtype dtype, const char* bytes);

  // The same for the elements that come next, however many, from element 0 on after Begin: for a
  // gradient that comes in order and in runs of any length. One thread at a time. A block is
  // measured once, when it is whole.
  void Append(EncodedVector elements);

  // The same for elements that stand in values() already.
  void Measure(Shard shard);

  // After every element was measured. Squares are summed in double, piece by piece, in the order of
  // the elements.
  bool finite() const;  // no NaN and no infinity
  // By group.
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
  std::shared_ptr<const GroupMap> map_;
  std::vector<double> piece_sums_;       // of squares
  std::vector<uint32_t> block_digests_;  // CRC32C
};

// Digest of a whole contribution: a repeat must agree in all of it. Losses that are NaN count by
// their bits.
uint32_t PayloadDigest(uint32_t gradient_digest, uint64_t base_version,
                       absl::Span<const double> losses, float weight = 1,
                       bool is_difference = false);

}  // namespace talweg::core
