// SPDX-License-Identifier: Apache-2.0
//
// Losses of a network (mnist/network.h) at perturbed parameters W + dW and W - dW, for search.
//
//   first layer   x (W1 +- dW1)^T = x W1^T +- x dW1^T    x W1^T once for all pairs; one product for
//                                                        both signs
//   others        h (W +- dW)^T, with W +- dW written out: one product for each sign
//   low rank      dW = s A^T B, so h dW^T = s (h B^T) A: no dW is written out, and the signs of
//                 several pairs share one product with W
//
// The results differ from Network::Evaluate at W + dW only by rounding. A dense perturbation is
// drawn straight into the matrix that BLAS multiplies with, a layer at a time. One pair at a time
// is fastest then: a layer of 512 x 784 stays in the cache, and on one thread a product of a batch
// of 100 with one layer ran at 211 GFLOP/s, with 8 layers side by side at 189, with 16 at 113
// (OpenBLAS 0.3.21, AVX-512, 1 MiB of second-level cache).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/noise/perturbation.h"

namespace talweg {

// Which perturbations. Borrows `perturbation`.
struct PerturbedPairs {
  const core::Perturbation& perturbation;
  uint32_t rank = 0;  // of the perturbation; 0: dense
  uint32_t generation = 0;
  uint32_t first_pair = 0;
  uint32_t num_pairs = 0;
  float sigma = 0;
  bool both_signs = true;  // else only W + dW
};

// Thread-compatible. BLAS should have one thread (SetNumBlasThreads).
class PerturbedNetwork {
 public:
  // `widths` as Network takes them.
  explicit PerturbedNetwork(std::vector<size_t> widths);

  size_t num_parameters() const { return num_parameters_; }

  // What is perturbed, and the batch that all losses are means over. All three are borrowed until
  // the next Set: `parameters` [num_parameters], `inputs` [batch, widths.front()], `labels`
  // [batch].
  void Set(absl::Span<const float> parameters, absl::Span<const float> inputs,
           absl::Span<const uint8_t> labels);

  // The mean cross-entropy at the parameters themselves, in nats.
  double Loss();
  // That at W + dW and, with both signs, at W - dW of each pair in turn.
  std::vector<double> Losses(const PerturbedPairs& pairs);

 private:
  // Where a layer lies in the flat vector.
  struct Layer {
    size_t in = 0, out = 0;
    size_t weights = 0, biases = 0;  // first elements
    size_t size() const { return (in + 1) * out; }
  };

  void DenseLosses(const PerturbedPairs& pairs, std::vector<double>& losses);
  void LowRankLosses(const PerturbedPairs& pairs, std::vector<double>& losses);
  // Mean cross-entropy of `outputs`, [batch, widths.back()].
  double MeanLoss(const float* outputs) const;

  std::vector<Layer> layers_;
  size_t num_parameters_ = 0;
  absl::Span<const float> parameters_;
  absl::Span<const float> inputs_;
  absl::Span<const uint8_t> labels_;
  std::vector<float> base_;  // x W1^T + b1, [batch, out]
  // Buffers: dW of a layer, W +- dW of one, the change of the first layer's outputs, activations.
  std::vector<float> change_, moved_, response_, below_, above_;
};

}  // namespace talweg
