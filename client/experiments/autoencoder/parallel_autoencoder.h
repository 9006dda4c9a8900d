// SPDX-License-Identifier: Apache-2.0
//
// The gradient of an autoencoder, and its sampled derivatives, on several threads. Each thread
// takes a slice of the samples and a network of its own, for the reason that parallel_gradient.h
// gives. The gradients of the slices are averaged by their sizes; what belongs to single samples is
// put together in the order of the samples.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/autoencoder/autoencoder_network.h"

namespace talweg {

// Each function does what the one of the same name in AutoencoderNetwork does. The same number of
// threads gives the same bits. Thread-compatible. BLAS should have one thread (SetNumBlasThreads).
class ParallelAutoencoder {
 public:
  // `num_threads` >= 1; a thread never gets fewer than 16 samples.
  ParallelAutoencoder(const std::vector<size_t>& widths, size_t num_threads);

  const AutoencoderShape& shape() const { return slices_[0].network.shape(); }

  double Evaluate(absl::Span<const float> parameters, absl::Span<const float> inputs);
  double Gradient(absl::Span<const float> parameters, absl::Span<const float> inputs,
                  absl::Span<float> gradient);

  // A sample takes the same numbers of `random` for any number of threads. Fills `inputs` and
  // `derivatives`.
  void SampledDerivatives(std::mt19937_64& random);
  // Of the whole batch, [batch, width]. Valid from SampledDerivatives until the next call.
  absl::Span<const float> inputs(size_t layer) const { return inputs_[layer]; }
  absl::Span<const float> derivatives(size_t layer) const { return derivatives_[layer]; }

 private:
  struct Slice {
    AutoencoderNetwork<float> network;
    std::vector<float> gradient;  // not used by the first slice
    double loss = 0;
  };

  // Remembers the batch and cuts it into slices.
  void Cut(absl::Span<const float> inputs);
  // The first sample of a slice, and the inputs of its samples.
  size_t begin(size_t slice) const { return batch_ * slice / num_slices_; }
  absl::Span<const float> InputsOf(size_t slice) const;
  // The slice's share of the batch.
  double Share(size_t slice) const {
    return static_cast<double>(begin(slice + 1) - begin(slice)) / static_cast<double>(batch_);
  }
  double MeanLoss() const;

  std::vector<Slice> slices_;
  absl::Span<const float> batch_inputs_;  // borrowed from the last Gradient or Evaluate
  size_t batch_ = 0;
  size_t num_slices_ = 0;  // how many of `slices_` this batch uses
  // What the functions of these names return, one per layer. With one slice they point into its
  // network, else into `gathered_`. The inputs of layer 0 are always the caller's.
  std::vector<absl::Span<const float>> inputs_;
  std::vector<absl::Span<const float>> derivatives_;
  struct Gathered {
    std::vector<float> inputs;
    std::vector<float> derivatives;
  };
  std::vector<Gathered> gathered_;
};

}  // namespace talweg
