// SPDX-License-Identifier: Apache-2.0
//
// The weighted sum of dense perturbations, made in registers while the numbers are drawn: no
// perturbation is ever in memory.
//
//   to[i] = float32(factor * sum over runs (sum over the run's pairs w_p * number_p(first + i)))
//
// The inner sum is in float32: ascending pairs, each product rounded before it is added. The outer
// sum is in float64 (pair_weight.h). Any cut of the elements gives the same bits.
//
// Cost: with normals, drawing each of them, plus a product and a sum. A vector of signs costs three
// operations. Memory: 32 KiB of stack, whatever the number of pairs. May be called from any thread.
#pragma once

#include <cstdint>
#include <span>

#include "core/noise/pair_weight.h"
#include "core/noise/philox.h"

namespace talweg::core {

// `weights` is in ascending order of the pairs. Without weights the sum is 0.
void SumDense(const PhiloxRoundKeys& keys, NoiseDomain domain, uint32_t generation,
              std::span<const PairWeight> weights, double factor, uint64_t first,
              std::span<float> to);

}  // namespace talweg::core
