// SPDX-License-Identifier: Apache-2.0
#include "core/noise/perturbation.h"

#include <algorithm>
#include <cmath>

#include "core/noise/dense_sum.h"
#include "core/noise/low_rank_sum.h"

namespace talweg::core {

uint64_t DataSeed(uint64_t seed, uint32_t generation) {
  const PhiloxWords words =
      Philox(CounterOf(NoiseDomain::kDataSeed, 0, 0, generation), KeyOfSeed(seed));
  return (uint64_t{words[1]} << 32 | words[0]) >> 11;
}

Perturbation::Perturbation(uint64_t seed, NoiseScheme scheme, uint32_t rank,
                           std::vector<TensorExtent> tensors)
    : keys_(KeyOfSeed(seed)), scheme_(scheme), rank_(rank) {
  for (const TensorExtent& extent : tensors) {
    const uint64_t begin = num_elements_;
    num_elements_ += extent.num_elements;
    if (rank == 0) continue;
    const bool is_matrix = extent.rows > 0 && extent.num_elements > 0;
    const uint64_t cols = is_matrix ? extent.num_elements / extent.rows : 0;
    tensors_.push_back({begin, num_elements_, num_numbers_, is_matrix ? extent.rows : 0, cols});
    num_numbers_ += is_matrix ? rank * (extent.rows + cols) : extent.num_elements;
  }
  if (rank == 0) {
    num_numbers_ = num_elements_;
    tensors_.push_back({0, num_elements_, 0, 0, 0});
  }
}

NoiseDomain Perturbation::domain() const {
  if (scheme_ == NoiseScheme::kNormal) {
    return rank_ == 0 ? NoiseDomain::kDenseNormal : NoiseDomain::kLowRankNormal;
  }
  return rank_ == 0 ? NoiseDomain::kDenseRademacher : NoiseDomain::kLowRankRademacher;
}

float Perturbation::ScaleOf(float sigma) const {
  return static_cast<float>(static_cast<double>(sigma) / std::sqrt(static_cast<double>(rank_)));
}

template <class At>
void Perturbation::ForEachPart(uint64_t begin, size_t size, const At& at) const {
  const uint64_t end = begin + size;
  auto tensor = std::upper_bound(tensors_.begin(), tensors_.end(), begin,
                                 [](uint64_t element, const Tensor& t) { return element < t.end; });
  for (; tensor != tensors_.end() && tensor->begin < end; ++tensor) {
    const uint64_t from = std::max(begin, tensor->begin);
    const uint64_t to = std::min(end, tensor->end);
    if (from < to) at(*tensor, from - tensor->begin, to - tensor->begin, from - begin);
  }
}

void Perturbation::Displacement(Draw draw, float sigma, uint64_t begin, std::span<float> to) const {
  ForEachPart(
      begin, to.size(), [&](const Tensor& tensor, uint64_t first, uint64_t last, size_t position) {
        if (tensor.rows == 0) {
          DrawNumbers(keys_, StreamOf(draw), tensor.first_number + first, sigma,
                      to.subspan(position, last - first));
          return;
        }
        ExpandLowRank(
            keys_, domain(), draw.generation,
            {tensor.rows, tensor.cols, rank_, tensor.first_number}, {draw.pair, ScaleOf(sigma)},
            first, last, [&](uint64_t element, std::span<const float> values) {
              std::copy(values.begin(), values.end(), to.begin() + (position + element - first));
            });
      });
}

void Perturbation::Perturb(Draw draw, float sigma, uint64_t begin, std::span<const float> from,
                           std::span<float> to) const {
  // By subtracting the dW of |sigma|, and not by adding that of -sigma: for low rank the two could
  // differ in the sign of a zero.
  const bool minus = std::signbit(sigma);
  const float size = std::abs(sigma);
  ForEachPart(
      begin, to.size(), [&](const Tensor& tensor, uint64_t first, uint64_t last, size_t position) {
        if (tensor.rows == 0) {
          AddNumbers(keys_, StreamOf(draw), tensor.first_number + first, size, minus,
                     from.subspan(position, last - first), to.subspan(position, last - first));
          return;
        }
        ExpandLowRank(keys_, domain(), draw.generation,
                      {tensor.rows, tensor.cols, rank_, tensor.first_number},
                      {draw.pair, ScaleOf(size)}, first, last,
                      [&](uint64_t element, std::span<const float> values) {
                        const size_t at = position + element - first;
                        AddChange(from.subspan(at, values.size()), values, minus,
                                  to.subspan(at, values.size()));
                      });
      });
}

void Perturbation::Estimate(uint32_t generation, std::span<const PairWeight> weights, double factor,
                            uint64_t begin, std::span<float> to) const {
  ForEachPart(
      begin, to.size(), [&](const Tensor& tensor, uint64_t first, uint64_t last, size_t position) {
        if (tensor.rows == 0) {
          SumDense(keys_, domain(), generation, weights, factor, tensor.first_number + first,
                   to.subspan(position, last - first));
          return;
        }
        SumLowRank(
            keys_, domain(), generation, {tensor.rows, tensor.cols, rank_, tensor.first_number},
            weights, factor / std::sqrt(static_cast<double>(rank_)), first, last,
            [&](uint64_t element, std::span<const float> values) {
              std::copy(values.begin(), values.end(), to.begin() + (position + element - first));
            });
      });
}

void Perturbation::Factors(Draw draw, size_t tensor, std::span<float> a, std::span<float> b) const {
  const uint64_t first = tensors_[tensor].first_number;
  DrawNumbers(keys_, StreamOf(draw), first, 1, a);
  DrawNumbers(keys_, StreamOf(draw), first + a.size(), 1, b);
}

}  // namespace talweg::core
