// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/parallel_gradient.h"

#include <gtest/gtest.h>

#include <random>

namespace talweg {
namespace {

TEST(ParallelGradientTest, AnyNumberOfThreadsGivesTheGradientOfTheWholeBatch) {
  const std::vector<size_t> widths = {6, 9, 4};
  Network<float> network(widths);
  std::mt19937 random(1);
  const auto draw = [&](size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
    return values;
  };
  const std::vector<float> parameters = draw(network.num_parameters());
  for (const size_t batch : {1u, 31u, 32u, 50u, 101u}) {
    const std::vector<float> inputs = draw(batch * widths.front());
    std::vector<uint8_t> labels(batch);
    for (uint8_t& label : labels) label = static_cast<uint8_t>(random() % 4);
    std::vector<float> expected(network.num_parameters());
    const BatchResult whole =
        network.Gradient(parameters, inputs, labels, absl::MakeSpan(expected));
    for (const size_t num_threads : {1u, 2u, 3u, 8u}) {
      ParallelGradient parallel(widths, num_threads);
      std::vector<float> gradient(network.num_parameters(), 7.0f);
      const BatchResult result =
          parallel.Gradient(parameters, inputs, labels, absl::MakeSpan(gradient));
      EXPECT_NEAR(result.loss, whole.loss, 1e-6) << batch << " images, " << num_threads;
      EXPECT_EQ(result.num_correct, whole.num_correct);
      for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(gradient[i], expected[i], 1e-6);
    }
  }
}

}  // namespace
}  // namespace talweg
