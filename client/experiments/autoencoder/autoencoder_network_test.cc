// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace talweg {
namespace {

using ::testing::ElementsAreArray;

// Odd, so that half a number of the generator is left over for each sample. The code has 3.
const std::vector<size_t> kWidths = {7, 6, 3, 5, 7};
constexpr size_t kCodeLayer = 1;
constexpr size_t kBatch = 5;

// Uniform in [low, high).
template <class Scalar>
std::vector<Scalar> Draw(size_t size, double low, double high, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Scalar> values(size);
  for (Scalar& value : values) {
    const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
    value = static_cast<Scalar>(low + (high - low) * uniform);
  }
  return values;
}

template <class Scalar>
std::vector<Scalar> DrawParameters(uint64_t seed) {
  return Draw<Scalar>(AutoencoderShape(kWidths).num_parameters(), -0.9, 0.9, seed);
}

template <class Scalar>
std::vector<Scalar> DrawInputs(size_t batch, uint64_t seed) {
  return Draw<Scalar>(batch * kWidths.front(), 0, 1, seed);
}

// The outputs z_L for one sample: the same network written out one number at a time, in double.
std::vector<double> PlainOutputs(const std::vector<double>& parameters, const double* sample) {
  std::vector<double> values(sample, sample + kWidths.front());
  size_t next = 0;
  for (size_t layer = 0; layer + 1 < kWidths.size(); ++layer) {
    std::vector<double> above(kWidths[layer + 1], 0);
    for (double& value : above) {
      for (const double below : values) value += parameters[next++] * below;
    }
    for (double& value : above) value += parameters[next++];
    if (layer != kCodeLayer && layer + 2 < kWidths.size()) {
      for (double& value : above) value = std::max(value, 0.0);
    }
    values = above;
  }
  return values;
}

double Sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// The mean loss towards any targets, from the definition of the cross-entropy.
double PlainLoss(const std::vector<double>& parameters, const std::vector<double>& inputs,
                 const std::vector<double>& targets) {
  const size_t batch = inputs.size() / kWidths.front();
  double loss = 0;
  for (size_t sample = 0; sample < batch; ++sample) {
    const size_t begin = sample * kWidths.front();
    const std::vector<double> outputs = PlainOutputs(parameters, inputs.data() + begin);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const double mean = Sigmoid(outputs[i]);
      const double target = targets[begin + i];
      loss -= target * std::log(mean) + (1 - target) * std::log(1 - mean);
    }
  }
  return loss / static_cast<double>(batch);
}

// Both errors are about 1e-10 at this distance: h^2 of the formula, 1e-16 / h of rounding.
std::vector<double> CentralDifferences(std::vector<double> parameters,
                                       const std::vector<double>& inputs,
                                       const std::vector<double>& targets) {
  const double h = 1e-5;
  std::vector<double> differences(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    const double kept = parameters[i];
    parameters[i] = kept + h;
    const double above = PlainLoss(parameters, inputs, targets);
    parameters[i] = kept - h;
    const double below = PlainLoss(parameters, inputs, targets);
    parameters[i] = kept;
    differences[i] = (above - below) / (2 * h);
  }
  return differences;
}

TEST(AutoencoderNetworkTest, LossIsThatOfThePlainLoops) {
  AutoencoderNetwork<double> network(kWidths);
  const auto parameters = DrawParameters<double>(1);
  const auto inputs = DrawInputs<double>(kBatch, 2);
  EXPECT_NEAR(network.Evaluate(parameters, inputs), PlainLoss(parameters, inputs, inputs), 1e-13);
}

TEST(AutoencoderNetworkTest, GradientIsThatOfCentralDifferences) {
  AutoencoderNetwork<double> network(kWidths);
  const auto parameters = DrawParameters<double>(3);
  const auto inputs = DrawInputs<double>(kBatch, 4);
  std::vector<double> gradient(parameters.size());
  EXPECT_NEAR(network.Gradient(parameters, inputs, absl::MakeSpan(gradient)),
              PlainLoss(parameters, inputs, inputs), 1e-13);
  const std::vector<double> expected = CentralDifferences(parameters, inputs, inputs);
  for (size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_NEAR(gradient[i], expected[i], 5e-9) << "parameter " << i;
  }
}

TEST(AutoencoderNetworkTest, FloatAgreesWithDouble) {
  AutoencoderNetwork<float> network(kWidths);
  AutoencoderNetwork<double> exact(kWidths);
  const auto parameters = DrawParameters<float>(5);
  const auto inputs = DrawInputs<float>(kBatch, 6);
  const std::vector<double> exact_parameters(parameters.begin(), parameters.end());
  const std::vector<double> exact_inputs(inputs.begin(), inputs.end());
  std::vector<float> gradient(parameters.size());
  std::vector<double> exact_gradient(parameters.size());
  EXPECT_NEAR(network.Gradient(parameters, inputs, absl::MakeSpan(gradient)),
              exact.Gradient(exact_parameters, exact_inputs, absl::MakeSpan(exact_gradient)), 1e-5);
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(gradient[i], exact_gradient[i], 1e-6);
}

TEST(AutoencoderNetworkTest, LargeOutputsOverflowNothing) {
  AutoencoderNetwork<float> network({1, 1, 1});
  std::vector<float> gradient(4);
  // z is 1000 and -1000 times the input, 1.
  EXPECT_EQ(network.Gradient({1, 0, 1000, 0}, {1}, absl::MakeSpan(gradient)), 0);
  EXPECT_THAT(gradient, ElementsAreArray({0, 0, 0, 0}));
  EXPECT_EQ(network.Gradient({1, 0, -1000, 0}, {1}, absl::MakeSpan(gradient)), 1000);
  EXPECT_THAT(gradient, ElementsAreArray({1000, 1000, -1, -1}));
}

TEST(AutoencoderNetworkTest, BatchesOfOtherSizesFollowEachOther) {
  AutoencoderNetwork<double> network(kWidths);
  const auto parameters = DrawParameters<double>(7);
  const auto inputs = DrawInputs<double>(kBatch, 8);
  const double whole = network.Evaluate(parameters, inputs);
  network.Evaluate(parameters, absl::MakeConstSpan(inputs).first(kWidths[0]));
  EXPECT_EQ(network.Evaluate(parameters, inputs), whole);
}

// The targets that the header promises for a seed, by its words.
std::vector<double> PromisedTargets(const std::vector<double>& parameters,
                                    const std::vector<double>& inputs, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> targets;
  while (targets.size() < inputs.size()) {
    std::vector<uint32_t> halves;
    for (size_t i = 0; i < (kWidths.front() + 1) / 2; ++i) {
      const uint64_t number = random();
      halves.push_back(static_cast<uint32_t>(number & 0xffffffff));
      halves.push_back(static_cast<uint32_t>(number >> 32));
    }
    const std::vector<double> outputs = PlainOutputs(parameters, inputs.data() + targets.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      targets.push_back(halves[i] / 4294967296.0 < Sigmoid(outputs[i]) ? 1 : 0);
    }
  }
  return targets;
}

TEST(SampledDerivativesTest, AreTowardsTheTargetsThatTheSeedPromises) {
  AutoencoderNetwork<double> network(kWidths);
  const auto parameters = DrawParameters<double>(9);
  const auto inputs = DrawInputs<double>(kBatch, 10);
  network.Evaluate(parameters, inputs);
  std::mt19937_64 random(11);
  network.SampledDerivatives(random);
  const std::vector<double> targets = PromisedTargets(parameters, inputs, 11);
  const absl::Span<const double> derivatives = network.derivatives(kWidths.size() - 2);
  ASSERT_EQ(derivatives.size(), targets.size());
  for (size_t sample = 0; sample < kBatch; ++sample) {
    const size_t begin = sample * kWidths.front();
    const std::vector<double> outputs = PlainOutputs(parameters, inputs.data() + begin);
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_NEAR(derivatives[begin + i], Sigmoid(outputs[i]) - targets[begin + i], 1e-14);
    }
  }
  std::mt19937_64 expected(11);
  expected.discard(kBatch * network.NumDraws());
  EXPECT_EQ(random, expected);
}

TEST(SampledDerivativesTest, WithTheInputsTheyMakeTheGradientTowardsTheSampledTargets) {
  AutoencoderNetwork<double> network(kWidths);
  const AutoencoderShape& shape = network.shape();
  const auto parameters = DrawParameters<double>(12);
  const auto inputs = DrawInputs<double>(kBatch, 13);
  std::vector<double> unused(parameters.size());
  network.Gradient(parameters, inputs, absl::MakeSpan(unused));
  std::mt19937_64 random(14);
  network.SampledDerivatives(random);
  // derivatives^T inputs / batch, and for the biases with inputs of 1.
  std::vector<double> gradient(parameters.size(), 0);
  for (size_t layer = 0; layer < shape.num_layers(); ++layer) {
    const size_t in = shape.num_inputs(layer);
    const size_t out = shape.num_outputs(layer);
    ASSERT_EQ(network.inputs(layer).size(), kBatch * in);
    ASSERT_EQ(network.derivatives(layer).size(), kBatch * out);
    for (size_t sample = 0; sample < kBatch; ++sample) {
      for (size_t row = 0; row < out; ++row) {
        const double share = network.derivatives(layer)[sample * out + row] / kBatch;
        for (size_t column = 0; column < in; ++column) {
          gradient[shape.weights_begin(layer) + row * in + column] +=
              share * network.inputs(layer)[sample * in + column];
        }
        gradient[shape.biases_begin(layer) + row] += share;
      }
    }
  }
  const std::vector<double> expected =
      CentralDifferences(parameters, inputs, PromisedTargets(parameters, inputs, 14));
  for (size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_NEAR(gradient[i], expected[i], 5e-9) << "parameter " << i;
  }
}

// Over a large batch, the derivatives at the outputs, sigmoid(z) - t, must have mean 0 and the
// variance of independent Bernoulli targets. All bounds are five standard deviations.
TEST(SampledDerivativesTest, TargetsHaveTheMeanAndTheVarianceOfTheModelAndAreIndependent) {
  constexpr size_t kLargeBatch = 20000;
  const size_t width = kWidths.back();
  AutoencoderNetwork<double> network(kWidths);
  const auto parameters = DrawParameters<double>(15);
  const auto inputs = DrawInputs<double>(kLargeBatch, 16);
  network.Evaluate(parameters, inputs);
  std::mt19937_64 random(17);
  network.SampledDerivatives(random);
  const absl::Span<const double> derivatives = network.derivatives(kWidths.size() - 2);
  struct Sums {
    double derivative = 0, variance = 0;
    double square = 0, square_variance = 0;
  };
  std::vector<Sums> sums(width);
  // Of each pair of pixels i < j of a sample, and of the same pixel in neighbouring samples (i =
  // j).
  std::vector<double> products(width * width, 0), product_variances(width * width, 0);
  std::vector<double> last(width, 0), last_variances(width, 0);
  for (size_t sample = 0; sample < kLargeBatch; ++sample) {
    const double* derivative = derivatives.data() + sample * width;
    const std::vector<double> outputs = PlainOutputs(parameters, inputs.data() + sample * width);
    std::vector<double> variances;
    for (size_t i = 0; i < width; ++i) {
      const double mean = Sigmoid(outputs[i]);
      const double variance = mean * (1 - mean);
      variances.push_back(variance);
      sums[i].derivative += derivative[i];
      sums[i].variance += variance;
      sums[i].square += derivative[i] * derivative[i];
      // E (p - t)^4 is p (1 - p) (1 - 3 p (1 - p)).
      sums[i].square_variance += variance * (1 - 3 * variance) - variance * variance;
    }
    for (size_t i = 0; i < width; ++i) {
      for (size_t j = i + 1; j < width; ++j) {
        products[i * width + j] += derivative[i] * derivative[j];
        product_variances[i * width + j] += variances[i] * variances[j];
      }
      products[i * width + i] += derivative[i] * last[i];
      product_variances[i * width + i] += variances[i] * last_variances[i];
    }
    last.assign(derivative, derivative + width);
    last_variances = variances;
  }
  for (size_t i = 0; i < width; ++i) {
    EXPECT_LT(std::abs(sums[i].derivative), 5 * std::sqrt(sums[i].variance)) << "pixel " << i;
    EXPECT_LT(std::abs(sums[i].square - sums[i].variance), 5 * std::sqrt(sums[i].square_variance))
        << "pixel " << i;
    for (size_t j = i; j < width; ++j) {
      EXPECT_LT(std::abs(products[i * width + j]), 5 * std::sqrt(product_variances[i * width + j]))
          << "pixels " << i << " and " << j;
    }
  }
}

TEST(SampledDerivativesTest, TheSameSeedGivesTheSameBits) {
  const auto parameters = DrawParameters<float>(18);
  const auto inputs = DrawInputs<float>(kBatch, 19);
  const auto sample = [&](uint64_t seed) {
    AutoencoderNetwork<float> network(kWidths);
    network.Evaluate(parameters, inputs);
    std::mt19937_64 random(seed);
    network.SampledDerivatives(random);
    std::vector<float> all;
    for (size_t layer = 0; layer < network.shape().num_layers(); ++layer) {
      const absl::Span<const float> derivatives = network.derivatives(layer);
      all.insert(all.end(), derivatives.begin(), derivatives.end());
    }
    return all;
  };
  EXPECT_EQ(sample(20), sample(20));
  EXPECT_NE(sample(20), sample(21));
}

}  // namespace
}  // namespace talweg
