// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/image_batches.h"

namespace talweg {

void FillImages(const MnistSet& set, absl::Span<const uint32_t> indices,
                std::vector<float>& images) {
  images.resize(indices.size() * MnistSet::kPixels);
  float* value = images.data();
  for (const uint32_t index : indices) {
    const uint8_t* image = set.pixels.data() + index * MnistSet::kPixels;
    for (size_t i = 0; i < MnistSet::kPixels; ++i) *value++ = static_cast<float>(image[i]) / 255.0f;
  }
}

}  // namespace talweg
