// SPDX-License-Identifier: Apache-2.0
//
// The weight of a pair in a sum over pairs, and the runs in which such a sum goes on.
//
// Pairs are summed in float32 within a run (64 neighbouring numbers of pairs), and the sums of the
// runs in float64. So a sum over 2^20 pairs loses no more than one over 64 does, and costs no more
// than float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace talweg::core {

struct PairWeight {
  uint32_t pair = 0;
  float weight = 0;
};

inline constexpr uint32_t kPairsPerRun = 64;

// Calls at(weights of one run) for each run that has a pair, in order. `weights` is in ascending
// order of the pairs.
template <class At>
void ForEachRun(std::span<const PairWeight> weights, const At& at) {
  for (size_t begin = 0; begin < weights.size();) {
    const uint32_t run = weights[begin].pair / kPairsPerRun;
    size_t end = begin + 1;
    while (end < weights.size() && weights[end].pair / kPairsPerRun == run) ++end;
    at(weights.subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace talweg::core
