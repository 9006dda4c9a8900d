// SPDX-License-Identifier: Apache-2.0
//
// A term of the sums over contributions: a vector and how much it counts.
#pragma once

namespace talweg::core {

// `values` is borrowed and has the length of the sum.
struct WeightedVector {
  const float* values = nullptr;
  float weight = 1;  // > 0, finite
};

}  // namespace talweg::core
