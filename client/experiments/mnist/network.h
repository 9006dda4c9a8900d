// SPDX-License-Identifier: Apache-2.0
//
// A multi-layer perceptron with ReLU and softmax cross-entropy, forward and backward, over one flat
// vector of parameters.
//
//   h_0 = x;  z_l = h_(l-1) W_l^T + b_l;  h_l = max(z_l, 0) for all layers except the last
//   loss  = mean over the batch of  log sum exp(z_L) - z_L[label]
//   dz_L  = (softmax(z_L) - onehot(label)) / batch
//   dW_l  = dz_l^T h_(l-1);  db_l = sum of dz_l over the batch;  dh_(l-1) = dz_l W_l;
//   dz_l  = dh_l if z_l > 0, else 0
//
// The flat vector is W_1 [outputs, inputs] row-major, b_1, W_2, b_2, ...: the layout
// "w1:512,784 b1:512 w2:512,512 ...". Products go through BLAS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// What a batch gave.
struct BatchResult {
  double loss = 0;         // mean cross-entropy, in nats
  size_t num_correct = 0;  // whose largest output is the label
};

// Scalar is float or double. Keeps the activations of one batch. Thread-compatible.
template <class Scalar>
class Network {
 public:
  // `widths`: inputs, hidden layers, outputs; at least two.
  explicit Network(std::vector<size_t> widths);

  size_t num_parameters() const { return num_parameters_; }

  // Forward only. `inputs` is [batch, widths.front()], `labels` [batch], each < widths.back(),
  // `parameters` [num_parameters].
  BatchResult Evaluate(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs,
                       absl::Span<const uint8_t> labels);

  // Forward and backward: also writes the gradient of the mean loss, [num_parameters].
  BatchResult Gradient(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs,
                       absl::Span<const uint8_t> labels, absl::Span<Scalar> gradient);

 private:
  size_t num_layers() const { return widths_.size() - 1; }
  // The first parameter of layer `layer`: of its weights, then of its biases.
  size_t weights_begin(size_t layer) const { return begins_[layer]; }
  size_t biases_begin(size_t layer) const {
    return begins_[layer] + widths_[layer] * widths_[layer + 1];
  }
  // Computes the activations up to the outputs, h_1 .. z_L.
  void Forward(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs, size_t batch);
  // Computes the loss of the outputs, and leaves dz_L in their place.
  BatchResult LossAndSlope(absl::Span<const uint8_t> labels);

  const std::vector<size_t> widths_;
  std::vector<size_t> begins_;
  size_t num_parameters_ = 0;
  std::vector<std::vector<Scalar>> outputs_;  // one per layer: [batch, widths_[layer + 1]]
};

// Sets how many threads BLAS uses for a product, in all of this process.
void SetNumBlasThreads(int num_threads);

}  // namespace talweg
