// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/image_batches.h"

#include <gtest/gtest.h>

namespace talweg {
namespace {

TEST(FillImagesTest, WritesSharesOf255InTheOrderAsked) {
  MnistSet set;
  set.pixels.assign(3 * MnistSet::kPixels, 0);
  set.labels.assign(3, 0);
  set.pixels[2 * MnistSet::kPixels] = 255;
  set.pixels[MnistSet::kPixels - 1] = 51;
  std::vector<float> images(5, 7.0f);
  FillImages(set, {2, 0}, images);
  ASSERT_EQ(images.size(), 2 * MnistSet::kPixels);
  EXPECT_EQ(images[0], 1.0f);
  EXPECT_EQ(images[1], 0.0f);
  EXPECT_EQ(images[MnistSet::kPixels], 0.0f);
  EXPECT_EQ(images.back(), 0.2f);
}

}  // namespace
}  // namespace talweg
