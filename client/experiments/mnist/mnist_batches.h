// SPDX-License-Identifier: Apache-2.0
//
// Batches of MNIST as the network takes them, the orders in which they are drawn, and the share of
// a set that is classified rightly.
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
// The shuffle of Fisher and Yates, written out: std::shuffle differs between libraries.
void Shuffle(std::mt19937_64& random, std::vector<uint32_t>& order);

// An endless stream of batches. It makes passes over `num_images`, each in a newly drawn order, and
// cuts them into batches one after the other. What is left over of a pass begins a batch that the
// next pass fills.
class BatchStream {
 public:
  // `batch_size` in [1, num_images].
  BatchStream(size_t num_images, size_t batch_size, uint64_t seed);
  // The next batch. It is valid until the next call.
  absl::Span<const uint32_t> Next();

 private:
  const size_t batch_size_;
  std::mt19937_64 random_;
  std::vector<uint32_t> order_;
  size_t begin_;
  std::vector<uint32_t> batch_;
};

// The share of `set` that `network` classifies rightly.
double Accuracy(ParallelGradient& network, absl::Span<const float> parameters, const MnistSet& set);

}  // namespace talweg
