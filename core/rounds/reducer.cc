// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/reducer.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/kernels/mean_in_order.h"
#include "core/kernels/order_statistics.h"

namespace talweg::core {
namespace {

std::vector<WeightedVector> PartOf(const std::vector<WeightedVector>& whole, Shard shard) {
  std::vector<WeightedVector> part = whole;
  for (WeightedVector& vector : part) vector.values += shard.begin;
  return part;
}

}  // namespace

Reducer::Reducer(const AggregationConfig& config, size_t num_elements)
    : stages_all_(config.stages_all()),
      reduction_(config.reduction),
      max_staged_(config.worker_limit()),
      num_elements_(num_elements) {}

void Reducer::Prepare(size_t num_waiting) {
  if (stages_all_) {
    // A contribution that finds the round full is not folded.
    const size_t needed = std::min(weights_.size() + num_waiting + 1, max_staged_);
    while (staged_.size() < needed) staged_.emplace_back(num_elements_);
    return;
  }
  if (high_.size() == num_elements_) return;
  AlignedVector<double> high(num_elements_);
  AlignedVector<double> low(num_elements_);
  residues_.resize(NumShards(num_elements_));
  high_ = std::move(high);
  low_ = std::move(low);
}

void Reducer::BeginFold(std::vector<WeightedVector> contributions) {
  contributions_ = std::move(contributions);
  TALWEG_CHECK(!stages_all_ || staged_.size() >= weights_.size() + contributions_.size());
}

void Reducer::FoldShard(size_t index) {
  const Shard shard = ShardAt(index, num_elements_);
  if (stages_all_) {
    for (size_t i = 0; i < contributions_.size(); ++i) {
      std::copy_n(contributions_[i].values + shard.begin, shard.size(),
                  staged_[weights_.size() + i].data() + shard.begin);
    }
    return;
  }
  FoldExact(PartOf(contributions_, shard), empty_, high_.span().subspan(shard.begin, shard.size()),
            low_.span().subspan(shard.begin, shard.size()), shard.begin, residues_[index]);
}

void Reducer::EndFold() {
  if (stages_all_) {
    for (const WeightedVector& vector : contributions_) weights_.push_back(vector.weight);
  }
  empty_ = false;
  contributions_.clear();
}

void Reducer::BeginClose(const StepOrder& order, std::vector<WeightedVector> contributions,
                         absl::Span<float> mean) {
  order_ = order;
  mean_ = mean;
  contributions_.clear();
  for (size_t i = 0; i < weights_.size(); ++i) {
    contributions_.push_back({staged_[i].data(), weights_[i]});
  }
  contributions_.insert(contributions_.end(), contributions.begin(), contributions.end());
  if (order_.by_worker.empty()) return;
  TALWEG_CHECK(order_.by_worker.size() == contributions_.size());
  std::vector<WeightedVector> sorted;
  for (const uint32_t place : order_.by_worker) sorted.push_back(contributions_[place]);
  contributions_ = std::move(sorted);
}

void Reducer::CloseShard(size_t index) {
  const Shard shard = ShardAt(index, num_elements_);
  const std::vector<WeightedVector> part = PartOf(contributions_, shard);
  const absl::Span<float> mean = mean_.subspan(shard.begin, shard.size());
  if (reduction_ != Reduction::kMean) {
    std::vector<const float*> vectors;
    vectors.reserve(part.size());
    for (const WeightedVector& vector : part) vectors.push_back(vector.values);
    if (reduction_ == Reduction::kMedian) return Median(vectors, mean);
    return TrimmedMean(vectors, order_.trim, mean);
  }
  if (stages_all_) return MeanInOrder(part, order_.total_weight, mean);
  if (empty_) return CloseExact(part, true, {}, {}, shard.begin, {}, order_.total_weight, mean);
  CloseExact(part, false, high_.span().subspan(shard.begin, shard.size()),
             low_.span().subspan(shard.begin, shard.size()), shard.begin, residues_[index],
             order_.total_weight, mean);
}

void Reducer::EndClose() { Reset(); }

void Reducer::Reset() {
  empty_ = true;
  weights_.clear();
  contributions_.clear();
  // Their memory is not counted beforehand, so it goes.
  for (std::vector<Residue>& residues : residues_) std::vector<Residue>().swap(residues);
}

uint64_t Reducer::ExtraBytes() const {
  uint64_t bytes = 0;
  for (const std::vector<Residue>& residues : residues_) {
    bytes += residues.capacity() * sizeof(Residue);
  }
  return bytes;
}

}  // namespace talweg::core
