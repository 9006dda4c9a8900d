// SPDX-License-Identifier: Apache-2.0
//
// What a lease of a search on MNIST comes to: the losses of perturbed networks on the minibatch
// that the lease's data seed chooses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/search/evaluate_leases.h"
#include "client/experiments/search/perturbed_network.h"

namespace talweg {

// These images as grey values in [0, 1]. Shifted and scaled to mean 0 and variance 1, as
// MnistBatch::Fill has them, they are nine times as large in the mean square, and with them the
// curvature: the noise of a search at the rate of the figure then outweighs its progress.
MnistBatch GreyBatch(const MnistSet& set, absl::Span<const uint32_t> indices);
// The minibatch that `data_seed` chooses: all who evaluate a generation see the same images.
MnistBatch BatchOfSeed(const MnistSet& set, size_t batch_size, uint64_t data_seed);

// Thread-compatible. Borrows the set.
class MnistLosses {
 public:
  // `widths` as Network takes them, from MnistSet::kPixels to 10; `batch_size` in [1, set.size()].
  MnistLosses(const MnistSet& set, std::vector<size_t> widths, size_t batch_size);

  // Appends the losses that the lease asks for, rounded to float32: then a record of a generation
  // takes 4 bytes for each. Not for DIFFERENCES_DIRECTIONAL.
  absl::Status Evaluate(const LeasedWork& work, std::vector<double>& losses);

 private:
  const MnistSet& set_;
  const size_t batch_size_;
  PerturbedNetwork network_;
  std::vector<float> parameters_;
  std::optional<uint32_t> generation_;  // that the batch and `parameters_` are of
  MnistBatch batch_;
};

}  // namespace talweg
