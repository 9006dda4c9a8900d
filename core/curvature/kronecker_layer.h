// SPDX-License-Identifier: Apache-2.0
//
// A layer as K-FAC sees it: one weight tensor and, if the layer names it, its bias.
//
//   W' = [W b]  is a matrix of `outputs` rows and `input_side()` columns
//   F is approximated by  A (x) S,   A [input_side, input_side],  S [outputs, outputs]
//
// A is the mean of a a^T, where a is the input of the layer with a 1 behind it if there is a bias
// (the homogeneous coordinate); S is the mean of g g^T, where g is the derivative of one sample's
// loss at the layer's output.
//
// A layer whose weights are used at T places of a sample (a convolution, or a linear layer under
// every element of a sequence) says how the places are joined:
//
//   EXPAND   A = 1/N sum_n sum_t a a^T              S = 1/(N T) sum_n sum_t g g^T
//   REDUCE   A = 1/N sum_n (mean_t a)(mean_t a)^T   S = 1/N sum_n (sum_t g)(sum_t g)^T
//
// EXPAND is KFC, in which `a` is a patch of the image: Omega and Gamma of Grosse, Martens 2016,
// arXiv:1602.01407. REDUCE is K-FAC-reduce of Eschenhagen et al. 2023, arXiv:2311.00636.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/linalg/packed_triangle.h"

namespace talweg::core {

// How the weight tensor stands for the matrix W, [outputs, inputs].
enum class Orientation : uint8_t {
  kOutIn,  // The first dimension counts the outputs, the others the inputs: PyTorch's.
  kInOut,  // The last dimension counts the outputs, the others the inputs: JAX's.
};

// How the places at which a layer's weights are used are joined.
enum class Sharing : uint8_t { kNone, kExpand, kReduce };

struct KroneckerLayer {
  size_t weight = 0;           // which tensor of the layout
  std::optional<size_t> bias;  // which tensor of the layout, with `outputs` elements
  Orientation orientation = Orientation::kOutIn;
  Sharing sharing = Sharing::kNone;
  uint64_t inputs = 0;
  uint64_t outputs = 0;

  uint64_t input_side() const { return inputs + (bias.has_value() ? 1 : 0); }
  // Rows of factor 0 (A) or 1 (S).
  uint64_t side(size_t factor) const { return factor == 0 ? input_side() : outputs; }
  uint64_t num_statistics() const { return PackedSize(input_side()) + PackedSize(outputs); }
};

// The elements of the vector of all statistics: the packed triangles of A and S of each layer, one
// layer after the other.
inline uint64_t NumStatistics(const std::vector<KroneckerLayer>& layers) {
  uint64_t sum = 0;
  for (const KroneckerLayer& layer : layers) sum += layer.num_statistics();
  return sum;
}

}  // namespace talweg::core
