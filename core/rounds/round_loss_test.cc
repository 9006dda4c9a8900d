// SPDX-License-Identifier: Apache-2.0
#include "core/rounds/round_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

AggregationConfig Reducing(Reduction reduction, double trim_fraction = 0) {
  AggregationConfig config;
  config.reduction = reduction;
  config.trim_fraction = trim_fraction;
  return config;
}

double LossOf(const std::vector<std::pair<double, float>>& contributions,
              const AggregationConfig& config = {}) {
  RoundLoss loss;
  for (const auto& [value, weight] : contributions) loss.Add(value, weight, config.reduction);
  return loss.Value(config).loss.value();
}

double Unweighted(const std::vector<double>& losses, const AggregationConfig& config) {
  std::vector<std::pair<double, float>> contributions;
  for (const double loss : losses) contributions.emplace_back(loss, 1.f);
  return LossOf(contributions, config);
}

TEST(RoundLossTest, IsTheWeightedMean) {
  EXPECT_EQ(LossOf({{1, 1.f}, {2, 3.f}}), 1.75);
  // Computed with Python's fractions: both sums exact, each rounded once, then divided.
  const std::vector<std::pair<double, float>> contributions = {
      {0x1.548cd115ef1d9p+12, 0x1.b3bd1ap+4f},  {0x1.4453a4c152dbcp+24, 0x1.cbd5acp+4f},
      {0x1.f64b8a75ab83ap+22, 0x1.824076p-1f},  {-0x1.97c164c0cc141p-1, 0x1.5d462ep+3f},
      {0x1.41b64c46fb289p+9, 0x1.c17a3ap+3f},   {0x1.a22431be312bfp-20, 0x1.6e9ae6p+5f},
      {-0x1.126dc8cedd7d1p-16, 0x1.327a44p+5f},
  };
  EXPECT_EQ(LossOf(contributions), 0x1.c65e9fdfe6c80p+21);
}

TEST(RoundLossTest, OfOneContributionIsItsOwnToTheBit) {
  // 0.1 times 0.7f, rounded, divided by 0.7f, is another number.
  for (const double loss : {0.1, 1.0 / 3, 1e-310, -7e300}) {
    for (const float weight : {0.7f, 3.f, 1e-30f}) EXPECT_EQ(LossOf({{loss, weight}}), loss);
  }
}

TEST(RoundLossTest, TheOrderOfArrivalMakesNoDifference) {
  std::vector<std::pair<double, float>> contributions = {
      {1e16, 0.1f}, {1, 3.f}, {-1e16, 0.1f}, {1e-9, 7e8f}, {0.3, 1e-20f}};
  std::sort(contributions.begin(), contributions.end());
  const double first = LossOf(contributions);
  do {
    EXPECT_EQ(LossOf(contributions), first);
  } while (std::next_permutation(contributions.begin(), contributions.end()));
}

TEST(RoundLossTest, NoProductOverflows) {
  const double huge = std::numeric_limits<double>::max();
  const float heavy = std::numeric_limits<float>::max();
  EXPECT_EQ(LossOf({{huge, heavy}, {huge, heavy}}), huge);
  EXPECT_EQ(LossOf({{0.5, std::numeric_limits<float>::denorm_min()}}), 0.5);
}

TEST(RoundLossTest, TheMedianIsOfTheLosses) {
  const AggregationConfig median = Reducing(Reduction::kMedian);
  EXPECT_EQ(Unweighted({5, 1, 1000}, median), 5);
  EXPECT_EQ(Unweighted({5, 1, 1000, 2}, median), 3.5);
  EXPECT_EQ(Unweighted({7}, median), 7);
}

TEST(RoundLossTest, TheTrimmedMeanLeavesOutTheEnds) {
  const AggregationConfig trimmed = Reducing(Reduction::kTrimmedMean, 0.25);
  EXPECT_EQ(Unweighted({1000, 1, 2, -1000}, trimmed), 1.5);
  EXPECT_EQ(Unweighted({6, 1, 2}, trimmed), 3);
}

TEST(RoundLossTest, OneThatIsNotFiniteHidesNoOther) {
  RoundLoss loss;
  loss.Add(1, 1, Reduction::kMean);
  loss.Add(std::nan(""), 9, Reduction::kMean);
  loss.Add(3, 1, Reduction::kMean);
  loss.Add(kInfinity, 9, Reduction::kMean);
  EXPECT_EQ(loss.Value({}).loss, 2);
  EXPECT_EQ(loss.Value({}).num_left_out, 2u);
}

TEST(RoundLossTest, IfNoneIsFiniteTheirSumIsTold) {
  EXPECT_EQ(LossOf({{kInfinity, 1.f}, {kInfinity, 2.f}}), kInfinity);
  EXPECT_TRUE(std::isnan(LossOf({{kInfinity, 1.f}, {-kInfinity, 1.f}})));
  RoundLoss loss;
  loss.Add(-kInfinity, 1, Reduction::kMean);
  EXPECT_EQ(loss.Value({}).num_left_out, 0u);
  EXPECT_FALSE(RoundLoss().Value({}).loss.has_value());
}

}  // namespace
}  // namespace talweg::core
