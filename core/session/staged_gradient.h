// SPDX-License-Identifier: Apache-2.0
//
// A gradient on its way from the wire into a step: copied once to aligned memory, and measured in
// the same pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/base/shard.h"

namespace talweg::core {

// What a decision needs to know of a gradient.
struct GradientFacts {
  bool finite = false;  // no NaN and no infinity
  double norm = 0;      // Euclidean; squares summed in double, block by block
  uint32_t digest = 0;  // CRC32C over the CRC32Cs of the blocks, in order
};

// Thread-compatible, except that Stage may run on disjoint shards at the same time. May be used
// again for the next gradient of the same size.
class StagedGradient {
 public:
  explicit StagedGradient(size_t num_elements);

  // Copies the elements of `shard` out of `bytes`, the whole vector as little-endian float32,
  // [4 * num_elements], of any alignment.
  void Stage(Shard shard, const char* bytes);

  // After every element was staged.
  GradientFacts Facts() const;

  absl::Span<const float> values() const { return values_.span(); }
  size_t size() const { return values_.size(); }

 private:
  AlignedBuffer values_;
  std::vector<double> block_sums_;       // of squares
  std::vector<uint32_t> block_digests_;  // CRC32C
};

// Digest of a whole contribution: a repeat must agree in all of it. Losses that are NaN count by
// their bits.
uint32_t PayloadDigest(uint32_t gradient_digest, uint64_t base_version,
                       absl::Span<const double> losses);

}  // namespace talweg::core
