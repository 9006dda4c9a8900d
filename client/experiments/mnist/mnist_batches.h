// SPDX-License-Identifier: Apache-2.0
//
// Batches of MNIST as the network takes them, the orders that they are drawn in, and what share of
// a set is classified rightly.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/parallel_gradient.h"

namespace talweg {

// Images and labels of one batch.
struct MnistBatch {
  std::vector<float> inputs;    // [size, MnistSet::kPixels]
  std::vector<uint8_t> labels;  // [size]

  void Fill(const MnistSet& set, absl::Span<const uint32_t> indices);
};

// 0, 1, ... size - 1.
std::vector<uint32_t> Numbers(size_t size);
// Fisher and Yates, written out: std::shuffle differs between libraries.
void Shuffle(std::mt19937_64& random, std::vector<uint32_t>& order);

// An endless stream of batches: passes over `num_images`, each in an order drawn anew, cut into
// batches one after the other; what is left over of a pass begins a batch with the next one.
class BatchStream {
 public:
  // `batch_size` in [1, num_images].
  BatchStream(size_t num_images, size_t batch_size, uint64_t seed);
  // The next batch; stands until the call after.
  absl::Span<const uint32_t> Next();

 private:
  const size_t batch_size_;
  std::mt19937_64 random_;
  std::vector<uint32_t> order_;
  size_t begin_;
  std::vector<uint32_t> batch_;
};

// Share of `set` that `network` classifies rightly.
double Accuracy(ParallelGradient& network, absl::Span<const float> parameters, const MnistSet& set);

}  // namespace talweg
