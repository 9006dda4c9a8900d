// SPDX-License-Identifier: Apache-2.0
#include "core/session/statistics.h"

#include <algorithm>
#include <utility>

#include "core/base/byte_io.h"
#include "core/base/check.h"
#include "core/linalg/gram.h"

namespace talweg::core {
namespace {

uint64_t WidthOf(const KroneckerLayer& layer, size_t factor) {
  return factor == 0 ? layer.inputs : layer.outputs;
}

// The numbers that are sent of a factor.
uint64_t NumSentOf(const KroneckerLayer& layer, size_t factor, uint64_t num_rows) {
  return num_rows > 0 ? num_rows * WidthOf(layer, factor) : PackedSize(layer.side(factor));
}

// Joins the `places` rows of each sample to one: their mean, or their sum.
std::vector<float> Joined(absl::Span<const float> rows, uint64_t num_samples, uint64_t places,
                          uint64_t width, bool mean) {
  std::vector<float> joined(num_samples * width);
  std::vector<double> sums(width);
  const double scale = mean ? 1 / static_cast<double>(places) : 1;
  const float* row = rows.data();
  for (uint64_t sample = 0; sample < num_samples; ++sample) {
    std::fill(sums.begin(), sums.end(), 0);
    for (uint64_t place = 0; place < places; ++place, row += width) {
      for (uint64_t col = 0; col < width; ++col) sums[col] += static_cast<double>(row[col]);
    }
    for (uint64_t col = 0; col < width; ++col) {
      joined[sample * width + col] = static_cast<float>(scale * sums[col]);
    }
  }
  return joined;
}

}  // namespace

uint64_t StatisticsShape::NumSent(const std::vector<KroneckerLayer>& layers) const {
  uint64_t sum = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    sum +=
        NumSentOf(layers[layer], 0, num_rows[layer]) + NumSentOf(layers[layer], 1, num_rows[layer]);
  }
  return sum;
}

bool StatisticsShape::IsWhole() const {
  return !of_mean_loss &&
         std::all_of(num_rows.begin(), num_rows.end(), [](uint64_t rows) { return rows == 0; });
}

std::shared_ptr<const GroupMap> MapOfOne(uint64_t num_elements) {
  return std::make_shared<const GroupMap>(*Layout::Create({{"statistics", {num_elements}}}));
}

StagedStatistics::StagedStatistics(std::shared_ptr<const LayerTable> table, StatisticsShape shape)
    : table_(std::move(table)), shape_(std::move(shape)) {
  const std::vector<KroneckerLayer>& layers = table_->layers;
  TALWEG_CHECK(shape_.num_rows.size() == layers.size() && shape_.num_samples > 0);
  uint64_t sent = 0;
  uint64_t ready = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const size_t factor : {0, 1}) {
      sent_begins_.push_back(sent);
      ready_begins_.push_back(ready);
      sent += NumSentOf(layers[layer], factor, shape_.num_rows[layer]);
      ready += PackedSize(layers[layer].side(factor));
    }
  }
  sent_map_ = MapOfOne(sent);
  sent_ = std::make_shared<StagedGradient>(sent);
  if (shape_.IsWhole()) {
    ready_ = sent_;
  } else {
    ready_map_ = MapOfOne(ready);
    ready_ = std::make_shared<StagedGradient>(ready);
  }
}

uint64_t StagedStatistics::MemoryBytes(const std::vector<KroneckerLayer>& layers,
                                       const StatisticsShape& shape) {
  uint64_t elements = shape.NumSent(layers);
  if (!shape.IsWhole()) elements += NumStatistics(layers);
  return elements * sizeof(float);
}

void StagedStatistics::AddStages(Work& work) {
  if (ready_ == sent_) return;
  work.Add({[this] { return 2 * table_->layers.size(); },
            [this](size_t piece) { MakeFactor(piece / 2, piece % 2); },
            [this] { ready_->Begin(ready_map_); }});
  work.AddShards(ready_->size(), [this](Shard shard) { ready_->Measure(shard); });
}

void StagedStatistics::MakeFactor(size_t index, size_t factor) {
  const KroneckerLayer& layer = table_->layers[index];
  const uint64_t num_rows = shape_.num_rows[index];
  const absl::Span<const float> from =
      absl::MakeConstSpan(sent_->values())
          .subspan(sent_begins_[2 * index + factor], NumSentOf(layer, factor, num_rows));
  const absl::Span<float> to =
      ready_->values().subspan(ready_begins_[2 * index + factor], PackedSize(layer.side(factor)));
  const auto samples = static_cast<double>(shape_.num_samples);
  const double of_one = factor == 1 && shape_.of_mean_loss ? samples * samples : 1;
  if (num_rows == 0) {
    for (size_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<float>(of_one * static_cast<double>(from[i]));
    }
    return;
  }
  const uint64_t width = WidthOf(layer, factor);
  const bool with_one = factor == 0 && layer.bias.has_value();
  std::vector<float> scratch(width * width);
  if (layer.sharing == Sharing::kReduce) {
    const std::vector<float> joined = Joined(
        from, shape_.num_samples, num_rows / shape_.num_samples, width, /*mean=*/factor == 0);
    PackedGram(shape_.num_samples, width, joined, with_one, of_one / samples, to,
               absl::MakeSpan(scratch));
  } else {
    // EXPAND divides A by the samples and S by the rows; without sharing these are the same.
    const double divisor = factor == 0 ? samples : static_cast<double>(num_rows);
    PackedGram(num_rows, width, from, with_one, of_one / divisor, to, absl::MakeSpan(scratch));
  }
}

size_t StagedStatistics::FirstNonFiniteLayer() const {
  const bool is_in_sent = !sent_->finite();
  const std::vector<uint64_t>& begins = is_in_sent ? sent_begins_ : ready_begins_;
  const size_t element = (is_in_sent ? sent_ : ready_)->FirstNonFinite();
  const auto after = std::upper_bound(begins.begin(), begins.end(), element);
  return static_cast<size_t>(after - begins.begin() - 1) / 2;
}

uint32_t StagedStatistics::Digest() const {
  ChecksumWriter writer;
  writer.Uint32(sent_->Digest());
  writer.Uint64(shape_.num_samples);
  writer.Byte(shape_.of_mean_loss ? 1 : 0);
  for (const uint64_t rows : shape_.num_rows) writer.Uint64(rows);
  return writer.checksum();
}

}  // namespace talweg::core
