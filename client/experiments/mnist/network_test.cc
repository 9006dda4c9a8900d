// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace talweg {
namespace {

const std::vector<size_t> kWidths = {5, 7, 6, 3};
const std::vector<uint8_t> kLabels = {0, 2, 1, 1};

template <class Scalar>
std::vector<Scalar> Draw(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Scalar> values(size);
  for (Scalar& value : values) {
    value = static_cast<Scalar>(static_cast<double>(random() >> 11) * 0x1p-53 - 0.5);
  }
  return values;
}

// The same network written out one number at a time, in double: loss only.
double PlainLoss(const std::vector<double>& parameters, const std::vector<double>& inputs,
                 const std::vector<uint8_t>& labels) {
  double loss = 0;
  for (size_t image = 0; image < labels.size(); ++image) {
    std::vector<double> values(inputs.begin() + static_cast<long>(image * kWidths[0]),
                               inputs.begin() + static_cast<long>((image + 1) * kWidths[0]));
    size_t next = 0;
    for (size_t layer = 0; layer + 1 < kWidths.size(); ++layer) {
      std::vector<double> above(kWidths[layer + 1], 0);
      for (double& value : above) {
        for (const double below : values) value += parameters[next++] * below;
      }
      for (double& value : above) value += parameters[next++];
      if (layer + 2 < kWidths.size()) {
        for (double& value : above) value = std::max(value, 0.0);
      }
      values = above;
    }
    double sum = 0;
    for (const double value : values) sum += std::exp(value);
    loss += std::log(sum) - values[labels[image]];
  }
  return loss / static_cast<double>(labels.size());
}

TEST(NetworkTest, CountsItsParameters) {
  EXPECT_EQ(Network<float>(kWidths).num_parameters(), 5u * 7 + 7 + 7 * 6 + 6 + 6 * 3 + 3);
  EXPECT_EQ(Network<float>({784, 512, 512, 10}).num_parameters(), 669706u);
}

TEST(NetworkTest, LossIsThatOfThePlainLoops) {
  Network<double> network(kWidths);
  const auto parameters = Draw<double>(network.num_parameters(), 1);
  const auto inputs = Draw<double>(kLabels.size() * kWidths[0], 2);
  EXPECT_NEAR(network.Evaluate(parameters, inputs, kLabels).loss,
              PlainLoss(parameters, inputs, kLabels), 1e-14);
}

TEST(NetworkTest, GradientIsThatOfCentralDifferences) {
  Network<double> network(kWidths);
  auto parameters = Draw<double>(network.num_parameters(), 3);
  const auto inputs = Draw<double>(kLabels.size() * kWidths[0], 4);
  std::vector<double> gradient(network.num_parameters());
  network.Gradient(parameters, inputs, kLabels, absl::MakeSpan(gradient));
  // Both errors are about 1e-10 at this distance: h^2 of the formula, 1e-16 / h of rounding.
  const double h = 1e-5;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double kept = parameters[i];
    parameters[i] = kept + h;
    const double above = PlainLoss(parameters, inputs, kLabels);
    parameters[i] = kept - h;
    const double below = PlainLoss(parameters, inputs, kLabels);
    parameters[i] = kept;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * h), 2e-9) << "parameter " << i;
  }
}

TEST(NetworkTest, FloatAgreesWithDouble) {
  Network<float> network(kWidths);
  Network<double> exact(kWidths);
  const auto parameters = Draw<float>(network.num_parameters(), 5);
  const auto inputs = Draw<float>(kLabels.size() * kWidths[0], 6);
  std::vector<float> gradient(network.num_parameters());
  std::vector<double> exact_gradient(network.num_parameters());
  const BatchResult result =
      network.Gradient(parameters, inputs, kLabels, absl::MakeSpan(gradient));
  const BatchResult exact_result = exact.Gradient(
      std::vector<double>(parameters.begin(), parameters.end()),
      std::vector<double>(inputs.begin(), inputs.end()), kLabels, absl::MakeSpan(exact_gradient));
  EXPECT_NEAR(result.loss, exact_result.loss, 1e-6);
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(gradient[i], exact_gradient[i], 1e-6);
}

TEST(NetworkTest, CountsTheRightAnswersAndSurvivesLargeOutputs) {
  Network<float> network({1, 2});
  // Outputs are (100 x, -100 x).
  const std::vector<float> parameters = {100, -100, 0, 0};
  const std::vector<float> inputs = {10, -10, 10};
  const BatchResult result = network.Evaluate(parameters, inputs, {0, 1, 1});
  EXPECT_EQ(result.num_correct, 2u);
  EXPECT_NEAR(result.loss, 2000.0 / 3, 1e-3);  // the wrong one is off by 2,000 nats
}

TEST(NetworkTest, BatchesOfOtherSizesFollowEachOther) {
  Network<double> network(kWidths);
  const auto parameters = Draw<double>(network.num_parameters(), 7);
  const auto inputs = Draw<double>(kLabels.size() * kWidths[0], 8);
  const double whole = network.Evaluate(parameters, inputs, kLabels).loss;
  network.Evaluate(parameters, absl::MakeConstSpan(inputs).first(kWidths[0]), {0});
  EXPECT_EQ(network.Evaluate(parameters, inputs, kLabels).loss, whole);
}

}  // namespace
}  // namespace talweg
