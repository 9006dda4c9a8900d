// SPDX-License-Identifier: Apache-2.0
#include "core/session/staged_gradient.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/byte_io.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/kernels/squared_norm.h"

namespace talweg::core {

StagedGradient::StagedGradient(size_t num_elements)
    : values_(num_elements), block_digests_(NumBlocks(num_elements)) {}

void StagedGradient::Begin(std::shared_ptr<const GroupMap> map) {
  num_appended_ = 0;
  is_narrow_ = false;
  if (map_ == map) return;
  map_ = std::move(map);
  piece_sums_.assign(map_->num_pieces(), 0);
}

void StagedGradient::Stage(Shard shard, Dtype dtype, const char* bytes) {
  if (dtype == Dtype::kFloat16) is_narrow_ = true;
  const size_t element_bytes = DtypeBytes(dtype);
  ForEachBlock(shard, [&](Shard block) {
    ToFloat32(dtype, bytes + (block.begin - shard.begin) * element_bytes,
              View(values_.span(), block));
    FinishBlock(block);
  });
}

void StagedGradient::Append(EncodedVector elements) {
  const size_t element_bytes = DtypeBytes(elements.dtype);
  if (elements.dtype == Dtype::kFloat16) is_narrow_ = true;
  absl::string_view bytes = elements.bytes;
  TALWEG_CHECK(bytes.size() % element_bytes == 0 &&
               bytes.size() / element_bytes <= size() - num_appended_);
  while (!bytes.empty()) {
    const size_t begin = num_appended_ / kBlock * kBlock;
    const size_t end = std::min(begin + kBlock, size());
    const size_t count = std::min(end - num_appended_, bytes.size() / element_bytes);
    ToFloat32(elements.dtype, bytes.data(), values_.span().subspan(num_appended_, count));
    bytes.remove_prefix(count * element_bytes);
    num_appended_ += count;
    if (num_appended_ == end) FinishBlock({begin, end});
  }
}

void StagedGradient::FinishBlock(Shard block) {
  block_digests_[block.begin / kBlock] =
      Crc32c(absl::MakeConstSpan(values_.data() + block.begin, block.size()));
  Measure(block);
}

void StagedGradient::Measure(Shard shard) {
  map_->ForEachPiece(shard, [&](Shard piece, size_t /*group*/, size_t number) {
    piece_sums_[number] = SquaredNorm(View(values_.span(), piece));
  });
}

std::vector<double> StagedGradient::SquaredNorms() const {
  std::vector<double> sums(map_->num_groups());
  map_->ForEachPiece({0, size()}, [&](Shard /*piece*/, size_t group, size_t number) {
    sums[group] += piece_sums_[number];
  });
  return sums;
}

bool StagedGradient::finite() const {
  // Squares of float32 numbers cannot overflow a double, so a sum is finite if they all are.
  for (const double sum : SquaredNorms()) {
    if (!std::isfinite(sum)) return false;
  }
  return true;
}

size_t StagedGradient::FirstNonFinite() const {
  size_t first = size();
  map_->ForEachPiece({0, size()}, [&](Shard piece, size_t /*group*/, size_t number) {
    if (first < size() || std::isfinite(piece_sums_[number])) return;
    const absl::Span<const float> values = View(values_.span(), piece);
    const auto found = std::find_if(values.begin(), values.end(),
                                    [](float value) { return !std::isfinite(value); });
    first = piece.begin + static_cast<size_t>(found - values.begin());
  });
  return first;
}

uint32_t StagedGradient::Digest() const {
  return Crc32c({reinterpret_cast<const char*>(block_digests_.data()),
                 block_digests_.size() * sizeof(uint32_t)});
}

uint32_t PayloadDigest(uint32_t gradient_digest, uint64_t base_version,
                       absl::Span<const double> losses, float weight, bool is_difference,
                       bool closes_round, bool abstains, std::optional<uint32_t> statistics_digest,
                       const std::optional<LossChange>& loss_change) {
  ChecksumWriter writer;
  writer.Uint32(gradient_digest);
  writer.Uint64(base_version);
  writer.Uint64(losses.size());
  for (const double loss : losses) writer.Double(loss);
  if (weight != 1) writer.Double(weight);
  if (is_difference) writer.Byte(1);
  if (closes_round) writer.Byte(2);
  if (abstains) writer.Byte(3);
  if (statistics_digest.has_value()) {
    writer.Byte(4);
    writer.Uint32(*statistics_digest);
  }
  if (loss_change.has_value()) {
    writer.Byte(5);
    writer.Uint64(loss_change->version);
    writer.Double(loss_change->before);
    writer.Double(loss_change->after);
  }
  return writer.checksum();
}

}  // namespace talweg::core
