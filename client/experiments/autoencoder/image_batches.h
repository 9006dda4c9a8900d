// SPDX-License-Identifier: Apache-2.0
//
// Batches of MNIST as an autoencoder takes them: grey values as shares of 255, neither shifted nor
// scaled further, so that they can also be the targets of a cross-entropy.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "client/experiments/mnist/mnist_data.h"

namespace talweg {

// Writes the images of `indices` to `images`, [indices.size(), MnistSet::kPixels], row-major, each
// value pixel / 255. BatchStream (client/experiments/mnist/mnist_batches.h) draws the indices.
void FillImages(const MnistSet& set, absl::Span<const uint32_t> indices,
                std::vector<float>& images);

}  // namespace talweg
