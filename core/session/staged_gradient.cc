// SPDX-License-Identifier: Apache-2.0
#include "core/session/staged_gradient.h"

#include <cmath>
#include <cstring>

#include "core/base/byte_io.h"
#include "core/base/checksum.h"
#include "core/kernels/squared_norm.h"

namespace talweg::core {

StagedGradient::StagedGradient(size_t num_elements)
    : values_(num_elements),
      block_sums_(NumBlocks(num_elements)),
      block_digests_(NumBlocks(num_elements)) {}

void StagedGradient::Stage(Shard shard, const char* bytes) {
  for (size_t begin = shard.begin; begin < shard.end; begin += kBlock) {
    const absl::Span<float> block =
        values_.span().subspan(begin, std::min(kBlock, shard.end - begin));
    std::memcpy(block.data(), bytes + begin * sizeof(float), block.size() * sizeof(float));
    block_sums_[begin / kBlock] = SquaredNorm(block);
    block_digests_[begin / kBlock] = Crc32c(block);
  }
}

GradientFacts StagedGradient::Facts() const {
  double sum = 0;
  for (const double block_sum : block_sums_) sum += block_sum;
  // Squares of float32 numbers cannot overflow a double, so the sum is finite where they all are.
  return {std::isfinite(sum), std::sqrt(sum),
          Crc32c({reinterpret_cast<const char*>(block_digests_.data()),
                  block_digests_.size() * sizeof(uint32_t)})};
}

uint32_t PayloadDigest(uint32_t gradient_digest, uint64_t base_version,
                       absl::Span<const double> losses) {
  ChecksumWriter writer;
  writer.Uint32(gradient_digest);
  writer.Uint64(base_version);
  writer.Uint64(losses.size());
  for (const double loss : losses) writer.Double(loss);
  return writer.checksum();
}

}  // namespace talweg::core
