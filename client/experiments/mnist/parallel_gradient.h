// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a batch on several threads. Each thread takes a slice of the images and a network
// of its own, and the gradients of the slices are averaged by their sizes.
//
// The threads of BLAS would have to meet at every product, and idle ones spin, which takes the
// cores from a server on the same machine. Here the threads meet once per step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/mnist/network.h"

namespace talweg {

// Thread-compatible. BLAS should have one thread (SetNumBlasThreads).
class ParallelGradient {
 public:
  // `num_threads` >= 1; a thread never gets fewer than 16 images.
  ParallelGradient(const std::vector<size_t>& widths, size_t num_threads);

  size_t num_parameters() const { return slices_[0].network.num_parameters(); }

  // As Network::Gradient. The same number of threads gives the same bits.
  BatchResult Gradient(absl::Span<const float> parameters, absl::Span<const float> inputs,
                       absl::Span<const uint8_t> labels, absl::Span<float> gradient);
  // As Network::Evaluate, on one thread.
  BatchResult Evaluate(absl::Span<const float> parameters, absl::Span<const float> inputs,
                       absl::Span<const uint8_t> labels) {
    return slices_[0].network.Evaluate(parameters, inputs, labels);
  }

 private:
  struct Slice {
    Network<float> network;
    std::vector<float> gradient;  // not used by the first slice
    BatchResult result;
  };
  std::vector<Slice> slices_;
};

}  // namespace talweg
