// SPDX-License-Identifier: Apache-2.0
//
// Loss and accuracy of a network on a whole set of MNIST.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_batches.h"
#include "client/experiments/mnist/mnist_data.h"
#include "client/experiments/mnist/network.h"

namespace talweg {

// Keeps the set as floats. Thread-compatible.
class MnistTester {
 public:
  struct Result {
    double loss = 0;      // mean cross-entropy, in nats
    double accuracy = 0;  // share of the set
  };

  // `widths` as Network takes them.
  MnistTester(const MnistSet& set, const std::vector<size_t>& widths);
  Result Test(absl::Span<const float> parameters);

 private:
  Network<float> network_;
  std::vector<MnistBatch> batches_;
};

}  // namespace talweg
