// SPDX-License-Identifier: Apache-2.0
//
// The weighted sum of low-rank perturbations of one matrix, in tiles.
//
//   element (i, j) = float32(factor * sum over runs (
//                      sum over the run's pairs p and over k of (w_p * A_ki) * B_kj))
//
// where A [rank, rows] and then B [rank, cols] are the matrix's numbers in the stream of pair p.
// The inner sum is in float32: ascending p, then ascending k; each product is rounded before the
// next operation. The outer sum is in float64 (pair_weight.h). Any cut of the elements gives the
// same bits.
//
// Cost for each element and term (pair and k): a product and a sum. A tile of at most 160 x 256
// elements draws rank (its rows + its columns) numbers for each pair, so spans of many whole rows
// cost least: a span of h rows draws about 1/h + 1/160 numbers per element and term. Memory: 0.6
// MiB whatever the matrix, the rank and the number of pairs. May be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "core/noise/pair_weight.h"
#include "core/noise/philox.h"

namespace talweg::core {

// A matrix, row-major, and the number at which its A starts in every stream.
struct LowRankMatrix {
  uint64_t rows = 0;
  uint64_t cols = 0;
  uint32_t rank = 0;
  uint64_t first_number = 0;
};

// Takes the values of the elements [begin, begin + values.size()) of the matrix.
using TakeValues = std::function<void(uint64_t begin, std::span<const float> values)>;

// Hands out each element of [begin, end) of the matrix once, in pieces of rows and in an order of
// this function's own. `weights` is in ascending order of the pairs.
void SumLowRank(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
                const LowRankMatrix& matrix, std::span<const PairWeight> weights, double factor,
                uint64_t begin, uint64_t end, const TakeValues& take);

// The same of one pair with weight `scale` and factor 1: scale * A_k,i * B_k,j, summed over k in
// float32.
void ExpandLowRank(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
                   const LowRankMatrix& matrix, PairWeight scale, uint64_t begin, uint64_t end,
                   const TakeValues& take);

}  // namespace talweg::core
