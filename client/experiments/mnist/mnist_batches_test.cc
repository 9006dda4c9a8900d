// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace talweg {
namespace {

using ::testing::ElementsAreArray;
using ::testing::Not;

std::vector<uint32_t> Take(BatchStream& stream, int num_batches) {
  std::vector<uint32_t> taken;
  for (int i = 0; i < num_batches; ++i) {
    const absl::Span<const uint32_t> batch = stream.Next();
    taken.insert(taken.end(), batch.begin(), batch.end());
  }
  return taken;
}

TEST(BatchStreamTest, EachPassHasEveryImageOnceThoughBatchesDoNotFit) {
  BatchStream stream(10, 4, 1);
  const std::vector<uint32_t> taken = Take(stream, 5);  // two passes
  ASSERT_EQ(taken.size(), 20u);
  for (const auto begin : {taken.begin(), taken.begin() + 10}) {
    EXPECT_EQ(std::set<uint32_t>(begin, begin + 10).size(), 10u);
  }
  EXPECT_THAT(std::vector<uint32_t>(taken.begin(), taken.begin() + 10),
              Not(ElementsAreArray(taken.begin() + 10, taken.end())));
}

TEST(BatchStreamTest, TheSameSeedGivesTheSameBatches) {
  BatchStream first(1000, 16, 5);
  BatchStream again(1000, 16, 5);
  BatchStream other(1000, 16, 6);
  const std::vector<uint32_t> taken = Take(first, 3);
  EXPECT_EQ(Take(again, 3), taken);
  EXPECT_NE(Take(other, 3), taken);
}

TEST(AccuracyTest, CountsOverBatchesThatDoNotFit) {
  MnistSet set;
  set.pixels.assign(1500 * MnistSet::kPixels, 0);
  set.labels.assign(1500, 3);
  std::fill(set.labels.begin() + 1200, set.labels.end(), uint8_t{4});
  ParallelGradient network({MnistSet::kPixels, 10}, 1);
  std::vector<float> parameters(network.num_parameters(), 0.0f);
  parameters[MnistSet::kPixels * 10 + 3] = 1;  // its bias: everything is a 3
  EXPECT_DOUBLE_EQ(Accuracy(network, parameters, set), 0.8);
}

}  // namespace
}  // namespace talweg
