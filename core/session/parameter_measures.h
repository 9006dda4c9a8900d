// SPDX-License-Identifier: Apache-2.0
//
// What a session that searches tells of each new version: the norm of the parameters, and a
// checksum with which a replay (NOISE.md) notices at once that it has gone another way.
//
//   checksum = CRC32C over the CRC32Cs of the blocks of 4,096 parameters, all little-endian
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/checksum.h"
#include "core/base/shard.h"
#include "core/kernels/squared_norm.h"
#include "core/session/parameters.h"
#include "core/session/work.h"

namespace talweg::core {

// Thread-compatible, except that Measure may run on disjoint shards at the same time.
class ParameterMeasures {
 public:
  explicit ParameterMeasures(size_t num_elements)
      : sums_(NumBlocks(num_elements)), checksums_(NumBlocks(num_elements)) {}

  // `shard` consists of whole blocks of `values`, the whole vector.
  void Measure(Shard shard, absl::Span<const float> values) {
    ForEachBlock(shard, [&](Shard block) {
      const absl::Span<const float> part = View(values, block);
      sums_[block.begin / kBlock] = SquaredNorm(part);
      checksums_[block.begin / kBlock] =
          Crc32c({reinterpret_cast<const char*>(part.data()), part.size() * sizeof(float)});
    });
  }

  // Once every shard was measured.
  double norm() const {
    double sum = 0;
    for (const double block : sums_) sum += block;
    return std::sqrt(sum);
  }
  uint32_t checksum() const {
    return Crc32c(
        {reinterpret_cast<const char*>(checksums_.data()), checksums_.size() * sizeof(uint32_t)});
  }

 private:
  std::vector<double> sums_;  // of squares
  std::vector<uint32_t> checksums_;
};

}  // namespace talweg::core
