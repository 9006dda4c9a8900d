// SPDX-License-Identifier: Apache-2.0
//
// A fully connected autoencoder with ReLU and binary cross-entropy, forward and backward, over one
// flat vector of parameters; and derivatives towards targets drawn from the model, from which K-FAC
// estimates its factors.
//
//   h_0 = x;  z_l = h_(l-1) W_l^T + b_l;  h_l = max(z_l, 0), or z_l if l is the code or the last
//   loss  = mean over the batch of  sum over the pixels of  max(z_L, 0) - z_L x + log(1 + e^-|z_L|)
//   dz_L  = (sigmoid(z_L) - x) / batch
//   dW_l  = dz_l^T h_(l-1);  db_l = sum of dz_l over the batch;  dh_(l-1) = dz_l W_l;
//   dz_l  = dh_l if h_l is linear or z_l > 0, else 0
//
// The model says that pixel i of a sample is 1 with probability sigmoid(z_L,i) and 0 otherwise,
// independently. For targets t drawn so, dz_L = sigmoid(z_L) - t is taken per sample: it is not
// divided by the batch. The expectation of v v^T, v = vec(dz_l h_(l-1)^T), is then the layer's
// block of the Fisher matrix; with the targets x of the training set it would be another matrix
// (arXiv:1503.05671, section 5).
//
// Products go through BLAS.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/autoencoder/autoencoder_shape.h"

namespace talweg {

// Scalar is float or double. Keeps the activations of one batch. Thread-compatible.
template <class Scalar>
class AutoencoderNetwork {
 public:
  // `widths` as AutoencoderShape takes them.
  explicit AutoencoderNetwork(std::vector<size_t> widths);

  const AutoencoderShape& shape() const { return shape_; }

  // Forward only: the mean loss in nats. `inputs` is [batch, widths.front()], each in [0, 1], and
  // also the targets; `parameters` is [num_parameters].
  double Evaluate(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs);

  // Forward and backward: also writes the gradient of the mean loss, [num_parameters].
  double Gradient(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs,
                  absl::Span<Scalar> gradient);

  // Draws targets from the model and fills `derivatives` with each sample's derivatives towards
  // them. The batch is that of the last Gradient or Evaluate, whose parameters and inputs must
  // still be there, unchanged.
  //
  // Each sample takes NumDraws() numbers of `random`, the samples in their order. Pixel 2 i has the
  // low half of number i and pixel 2 i + 1 the high half; a half u makes the pixel 1 if
  // u / 2^32 < sigmoid(z), computed in double.
  void SampledDerivatives(std::mt19937_64& random);
  size_t NumDraws() const { return (shape_.widths().back() + 1) / 2; }

  // What entered the layer in the last Gradient or Evaluate, [batch, num_inputs(layer)], without
  // the constant 1 that belongs to the biases. For layer 0, the caller's inputs.
  absl::Span<const Scalar> inputs(size_t layer) const {
    return layer == 0 ? inputs_ : absl::MakeConstSpan(outputs_[layer - 1]);
  }
  // The derivatives of each sample's loss with respect to z of the layer, [batch,
  // num_outputs(layer)]. Valid from SampledDerivatives until the next Gradient or Evaluate.
  absl::Span<const Scalar> derivatives(size_t layer) const { return derivatives_[layer]; }

 private:
  size_t batch() const { return inputs_.size() / shape_.widths().front(); }
  // Computes the activations, h_1 .. z_L.
  void Forward(absl::Span<const Scalar> parameters, absl::Span<const Scalar> inputs);
  // Computes the mean loss of z_L, and leaves sigmoid(z_L) in its place.
  double LossAndMeans();
  // Makes dz of the layer below from that of `layer` (> 0).
  void PropagateBelow(size_t layer);

  const AutoencoderShape shape_;
  // Borrowed: the caller's of the last Gradient or Evaluate.
  absl::Span<const Scalar> parameters_;
  absl::Span<const Scalar> inputs_;
  // One per layer, [batch, num_outputs(layer)]. The last outputs are sigmoid(z_L).
  std::vector<std::vector<Scalar>> outputs_;
  std::vector<std::vector<Scalar>> derivatives_;
};

}  // namespace talweg
