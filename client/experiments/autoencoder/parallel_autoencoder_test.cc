// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/parallel_autoencoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>

#include "client/experiments/autoencoder/image_batches.h"
#include "client/experiments/mnist/mnist_batches.h"

namespace talweg {
namespace {

// Uniform in [low, high).
float Draw(std::mt19937_64& random, float low, float high) {
  return low + (high - low) * (static_cast<float>(random() >> 40) * 0x1p-24f);
}

// Each value within 1e-5 of the other, relative to the largest of them.
void ExpectClose(absl::Span<const float> values, absl::Span<const float> expected) {
  ASSERT_EQ(values.size(), expected.size());
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-5f * largest);
}

TEST(ParallelAutoencoderTest, AnyNumberOfThreadsGivesWhatOneNetworkGives) {
  const std::vector<size_t> widths = {9, 8, 4, 6, 9};
  AutoencoderNetwork<float> network(widths);
  std::mt19937_64 random(1);
  std::vector<float> parameters(network.shape().num_parameters());
  for (float& value : parameters) value = Draw(random, -0.6f, 0.6f);
  // The same objects for all sizes: nothing of a former batch may be left.
  std::vector<ParallelAutoencoder> parallels;
  for (const size_t num_threads : {1u, 2u, 3u, 8u}) parallels.emplace_back(widths, num_threads);
  for (const size_t batch : {50u, 1u, 31u, 32u, 101u}) {
    std::vector<float> inputs(batch * widths.front());
    for (float& value : inputs) value = Draw(random, 0, 1);
    std::vector<float> expected(parameters.size());
    const double loss = network.Gradient(parameters, inputs, absl::MakeSpan(expected));
    std::mt19937_64 whole_random(2);
    network.SampledDerivatives(whole_random);
    for (ParallelAutoencoder& parallel : parallels) {
      SCOPED_TRACE(testing::Message() << batch << " samples, " << (&parallel - parallels.data()));
      std::vector<float> gradient(parameters.size(), 7.0f);
      EXPECT_NEAR(parallel.Gradient(parameters, inputs, absl::MakeSpan(gradient)), loss,
                  1e-5 * loss);
      ExpectClose(gradient, expected);
      std::mt19937_64 own_random(2);
      parallel.SampledDerivatives(own_random);
      EXPECT_EQ(own_random, whole_random);
      for (size_t layer = 0; layer < network.shape().num_layers(); ++layer) {
        ExpectClose(parallel.inputs(layer), network.inputs(layer));
        ExpectClose(parallel.derivatives(layer), network.derivatives(layer));
      }
      EXPECT_NEAR(parallel.Evaluate(parameters, inputs), loss, 1e-5 * loss);
    }
  }
}

TEST(ParallelAutoencoderTest, TheSameSeedAndThreadsGiveTheSameBits) {
  const std::vector<size_t> widths = {9, 8, 4, 6, 9};
  std::mt19937_64 random(3);
  std::vector<float> parameters(AutoencoderShape(widths).num_parameters());
  for (float& value : parameters) value = Draw(random, -0.6f, 0.6f);
  std::vector<float> inputs(100 * widths.front());
  for (float& value : inputs) value = Draw(random, 0, 1);
  const auto run = [&] {
    ParallelAutoencoder parallel(widths, 2);
    std::vector<float> all(parameters.size());
    parallel.Gradient(parameters, inputs, absl::MakeSpan(all));
    std::mt19937_64 own_random(4);
    parallel.SampledDerivatives(own_random);
    for (size_t layer = 0; layer < widths.size() - 1; ++layer) {
      const absl::Span<const float> derivatives = parallel.derivatives(layer);
      all.insert(all.end(), derivatives.begin(), derivatives.end());
    }
    return all;
  };
  EXPECT_EQ(run(), run());
}

TEST(ParallelAutoencoderTest, TheFirstLossOnMnistIsThatOfMeansNearOneHalf) {
  const absl::StatusOr<MnistData> data = LoadMnist(TALWEG_MNIST_FOLDER);
  ASSERT_TRUE(data.ok()) << data.status();
  std::vector<float> images;
  FillImages(data->train, Numbers(1000), images);
  ParallelAutoencoder network(
      {std::begin(kMnistAutoencoderWidths), std::end(kMnistAutoencoderWidths)}, 2);
  const AutoencoderShape& shape = network.shape();
  // Uniform in +-1 / sqrt(inputs), weights and biases: PyTorch's default.
  std::mt19937_64 random(5);
  std::vector<float> parameters;
  for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
    const float bound = 1 / std::sqrt(static_cast<float>(shape.num_inputs(layer)));
    const size_t count = (shape.num_inputs(layer) + 1) * shape.num_outputs(layer);
    for (size_t i = 0; i < count; ++i) parameters.push_back(Draw(random, -bound, bound));
  }
  ASSERT_EQ(parameters.size(), shape.num_parameters());
  SetNumBlasThreads(1);
  EXPECT_NEAR(network.Evaluate(parameters, images), 543.7, 1.0);  // 784 log 2 is 543.43
}

}  // namespace
}  // namespace talweg
