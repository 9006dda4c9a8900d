// SPDX-License-Identifier: Apache-2.0
//
// What the sums over contributions take in: a vector and how much it counts.
#pragma once

namespace talweg::core {

// `values` is borrowed and has the length of the sum.
struct WeightedVector {
  const float* values = nullptr;
  float weight = 1;  // > 0, finite
};

}  // namespace talweg::core
