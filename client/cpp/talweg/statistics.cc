// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/statistics.h"

#include <algorithm>

#include "client/cpp/talweg/dtype.h"

namespace talweg {

std::vector<float> PackUpperTriangle(size_t side, absl::Span<const float> square) {
  std::vector<float> packed;
  packed.reserve(side * (side + 1) / 2);
  for (size_t row = 0; row < side; ++row) {
    const absl::Span<const float> rest = square.subspan(row * side + row, side - row);
    packed.insert(packed.end(), rest.begin(), rest.end());
  }
  return packed;
}

v1::Statistics ToProto(const Statistics& statistics, bool alone) {
  v1::Statistics proto;
  proto.set_num_samples(statistics.num_samples);
  proto.set_of_mean_loss(statistics.of_mean_loss);
  proto.set_target(statistics.target);
  proto.set_alone(alone);
  for (const LayerStatistics& layer : statistics.layers) {
    v1::LayerStatistics& told = *proto.add_layers();
    told.set_weight(layer.weight);
    told.set_form(layer.num_rows > 0 ? v1::STATISTICS_FORM_ROWS : v1::STATISTICS_FORM_TRIANGLES);
    told.set_num_rows(layer.num_rows);
  }
  return proto;
}

StatisticsVector::StatisticsVector(const Statistics& statistics) : dtype_(statistics.dtype) {
  for (const LayerStatistics& layer : statistics.layers) {
    for (const absl::Span<const float> piece : {layer.inputs, layer.derivatives}) {
      pieces_.push_back(piece);
      size_ += piece.size();
    }
  }
}

uint64_t StatisticsVector::bytes() const { return size_ * DtypeBytes(dtype_); }

void StatisticsVector::Encode(uint64_t begin, uint64_t count, char* bytes) const {
  for (const absl::Span<const float> piece : pieces_) {
    if (count == 0) return;
    if (begin >= piece.size()) {
      begin -= piece.size();
      continue;
    }
    const absl::Span<const float> part =
        piece.subspan(begin, std::min<uint64_t>(count, piece.size() - begin));
    EncodeFloats(dtype_, part, bytes);
    bytes += part.size() * DtypeBytes(dtype_);
    count -= part.size();
    begin = 0;
  }
}

std::vector<float> StatisticsVector::Copy() const {
  std::vector<float> copy;
  copy.reserve(size_);
  for (const absl::Span<const float> piece : pieces_) {
    copy.insert(copy.end(), piece.begin(), piece.end());
  }
  return copy;
}

StatisticsVector StatisticsVector::Of(absl::Span<const float> copy) const {
  StatisticsVector other;
  other.pieces_ = {copy};
  other.size_ = size_;
  other.dtype_ = dtype_;
  return other;
}

}  // namespace talweg
