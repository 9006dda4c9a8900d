// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/perturbed_network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "client/experiments/mnist/network.h"

namespace talweg {
namespace {

const std::vector<size_t> kWidths = {20, 17, 9, 5};
constexpr size_t kBatch = 13;
constexpr float kSigma = 0.05f;

class PerturbedNetworkTest : public ::testing::TestWithParam<uint32_t> {  // the rank
 protected:
  PerturbedNetworkTest() : network_(kWidths), plain_(kWidths) {
    std::mt19937_64 random(3);
    const auto uniform = [&] { return static_cast<float>(random() >> 40) * 0x1p-23f - 1; };
    parameters_.resize(network_.num_parameters());
    for (float& value : parameters_) value = 0.5f * uniform();
    inputs_.resize(kBatch * kWidths.front());
    for (float& value : inputs_) value = uniform();
    for (size_t i = 0; i < kBatch; ++i) {
      labels_.push_back(static_cast<uint8_t>(random() % kWidths.back()));
    }
    network_.Set(parameters_, inputs_, labels_);
  }

  static core::Perturbation Drawn(uint32_t rank) {
    std::vector<core::TensorExtent> tensors;
    for (size_t i = 0; i + 1 < kWidths.size(); ++i) {
      tensors.push_back({kWidths[i] * kWidths[i + 1], kWidths[i + 1]});
      tensors.push_back({kWidths[i + 1], 0});
    }
    return {17, core::NoiseScheme::kNormal, rank, std::move(tensors)};
  }

  double LossAt(const core::Perturbation& perturbation, core::Draw draw, float sigma) {
    std::vector<float> point(parameters_.size());
    perturbation.Perturb(draw, sigma, 0, parameters_, point);
    return plain_.Evaluate(point, inputs_, labels_).loss;
  }

  PerturbedNetwork network_;
  Network<float> plain_;
  std::vector<float> parameters_;
  std::vector<float> inputs_;
  std::vector<uint8_t> labels_;
};

INSTANTIATE_TEST_SUITE_P(Ranks, PerturbedNetworkTest, ::testing::Values(0, 1, 4));

TEST_P(PerturbedNetworkTest, LossesAreThoseOfTheNetworkAtThePerturbedParameters) {
  const core::Perturbation perturbation = Drawn(GetParam());
  const std::vector<double> losses =
      network_.Losses({perturbation, GetParam(), 6, 2, 5, kSigma, /*both_signs=*/true});
  ASSERT_EQ(losses.size(), 10u);
  for (uint32_t i = 0; i < 5; ++i) {
    const double plus = LossAt(perturbation, {6, 2 + i}, kSigma);
    const double minus = LossAt(perturbation, {6, 2 + i}, -kSigma);
    EXPECT_NEAR(losses[2 * i], plus, 2e-6);
    EXPECT_NEAR(losses[2 * i + 1], minus, 2e-6);
    EXPECT_GT(std::abs(plus - minus), 1e-4);  // there is something to tell apart
  }
}

TEST_P(PerturbedNetworkTest, OneSignGivesTheLossesOfThePlusPoints) {
  const core::Perturbation perturbation = Drawn(GetParam());
  const PerturbedPairs pairs = {perturbation, GetParam(), 6, 2, 3, kSigma, /*both_signs=*/false};
  const std::vector<double> losses = network_.Losses(pairs);
  ASSERT_EQ(losses.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(losses[i], LossAt(perturbation, {6, 2 + i}, kSigma), 2e-6);
  }
}

TEST_P(PerturbedNetworkTest, LossIsThatOfTheNetwork) {
  EXPECT_NEAR(network_.Loss(), plain_.Evaluate(parameters_, inputs_, labels_).loss, 2e-6);
}

}  // namespace
}  // namespace talweg
