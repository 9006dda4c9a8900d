// SPDX-License-Identifier: Apache-2.0
//
// What a round makes of the gradients that it is given: sums, means, medians, averaging of local
// steps.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "core/kernels/negate.h"
#include "core/optimizers/adam.h"
#include "core/session/fleet_testing.h"
#include "core/session/session.h"
#include "gtest/gtest.h"

namespace talweg::core::round_fleet {
namespace {

TEST(SessionRoundsTest, EveryOrderOfArrivalGivesTheSameBits) {
  const float weights[] = {3, 1.0f / 2, 1.0f / 3, 1, 7};
  std::vector<size_t> order(5);
  std::iota(order.begin(), order.end(), 0);
  std::vector<float> expected;
  do {
    Fleet fleet(ConfigFor(Synchronous(), "momentum", 500), 5);
    fleet.FoldEvery(1 + order[0]);  // every grouping as well
    for (int round = 0; round < 2; ++round) {
      for (const size_t worker : order) {
        std::vector<float> gradient = GradientOf(10 * round + worker, 500);
        if (worker > 2) {  // cancels most of worker 0, and brings zeros
          for (size_t i = 0; i < 500; i += 2)
            gradient[i] = worker == 3 ? 0 : -3.0f * Pseudo(round * 10, i) / 7;
        }
        fleet.Contribute(worker, gradient, weights[worker]);
      }
    }
    ASSERT_EQ(fleet.session().machine().version(), 2u);
    if (expected.empty()) expected = fleet.values();
    ASSERT_EQ(std::memcmp(expected.data(), fleet.values().data(), 500 * sizeof(float)), 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(SessionRoundsTest, RoundStepsWithTheWeightedMean) {
  SessionConfig config = ConfigFor(Synchronous(), "gradient_descent");
  Fleet fleet(config, 3);
  std::vector<std::vector<float>> gradients;
  for (size_t worker = 0; worker < 3; ++worker) {
    gradients.push_back(GradientOf(worker));
    fleet.Contribute(worker, gradients.back(), static_cast<float>(worker + 1));
  }
  const std::vector<float> values = fleet.values();
  for (size_t i = 0; i < kElements; ++i) {
    // Three products of 27 bits, 2^70 apart at most, in 113 bits.
    const __float128 sum = static_cast<__float128>(gradients[0][i]) +
                           static_cast<__float128>(gradients[1][i]) * 2 +
                           static_cast<__float128>(gradients[2][i]) * 3;
    const auto mean = static_cast<float>(static_cast<double>(sum) / 6);
    ASSERT_EQ(values[i], -mean) << i;
  }
  EXPECT_EQ(fleet.answers().size(), 3u);
  for (const auto& [ticket, answer] : fleet.answers()) {
    EXPECT_EQ(answer.verdict, Verdict::kApplied);
    EXPECT_EQ(answer.applied_version, 1u);
    EXPECT_EQ(answer.report->contributors, 3u);
    EXPECT_EQ(answer.report->total_weight, 6);
  }
  ASSERT_EQ(fleet.records().size(), 1u);
  EXPECT_EQ(fleet.records()[0]->members.size(), 3u);
}

TEST(SessionRoundsTest, RoundOfOneTakesTheGradientAsItIs) {
  Fleet fleet(ConfigFor(Synchronous(), "gradient_descent", 3), 1);
  fleet.Contribute(0, {-0.0f, 1e-44f, 3e38f}, 1.0f / 3);
  const std::vector<float> values = fleet.values();
  EXPECT_EQ(values[1], -1e-44f);
  EXPECT_EQ(values[2], -3e38f);
}

TEST(SessionRoundsTest, ByWorkerSumsInTheOrderOfNames) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduce_order = ReduceOrder::kByWorker;
  aggregation.max_workers = 4;
  for (const std::vector<size_t>& order : {std::vector<size_t>{2, 0, 3, 1}, {0, 1, 2, 3}}) {
    for (const size_t batch : {1, 3, 9}) {
      Fleet fleet(ConfigFor(aggregation, "gradient_descent"), 4);
      fleet.FoldEvery(batch);
      for (int round = 0; round < 2; ++round) {
        for (const size_t worker : order) {
          fleet.Contribute(worker, GradientOf(worker), static_cast<float>(worker + 1));
        }
      }
      const std::vector<float> values = fleet.values();
      for (size_t i = 0; i < kElements; ++i) {
        double sum = 0;
        for (size_t worker = 0; worker < 4; ++worker) {
          sum += static_cast<double>(worker + 1) * static_cast<double>(Pseudo(worker, i));
        }
        const auto mean = static_cast<float>(sum / 10);
        ASSERT_EQ(values[i], -mean - mean) << i;
      }
    }
  }
}

TEST(SessionRoundsTest, MedianAndTrimmedMeanAreNotCarriedAway) {
  for (const Reduction reduction : {Reduction::kMedian, Reduction::kTrimmedMean}) {
    AggregationConfig aggregation = Synchronous();
    aggregation.reduction = reduction;
    aggregation.max_workers = 5;
    if (reduction == Reduction::kTrimmedMean) aggregation.trim_fraction = 0.2;
    Fleet fleet(ConfigFor(aggregation, "gradient_descent", 2), 5);
    const float strange = 1e30f;
    const std::vector<std::vector<float>> gradients = {
        {1, 10}, {strange, 20}, {2, 30}, {3, -strange}, {6, 60}};
    for (size_t worker = 0; worker < 5; ++worker) fleet.Contribute(worker, gradients[worker]);
    const std::vector<float> expected = reduction == Reduction::kMedian
                                            ? std::vector<float>{-3, -20}
                                            : std::vector<float>{-11.0f / 3, -20};
    EXPECT_EQ(fleet.values(), expected);
  }
}

TEST(SessionRoundsTest, ATrimmedMeanThatTrimsNothingIsTheMean) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduction = Reduction::kTrimmedMean;
  aggregation.trim_fraction = 0;
  aggregation.max_workers = 4;
  ASSERT_TRUE(aggregation.Validate().ok());
  Fleet fleet(ConfigFor(aggregation, "gradient_descent", 2), 4);
  const std::vector<std::vector<float>> gradients = {{1, 10}, {-30, 20}, {2, 30}, {3, -20}};
  for (size_t worker = 0; worker < 4; ++worker) fleet.Contribute(worker, gradients[worker]);
  EXPECT_EQ(fleet.values(), (std::vector<float>{6, -10}));
}

TEST(SessionRoundsTest, StalenessScalesTheWeight) {
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 3;
  aggregation.stale_scale = StaleScale::kInverse;
  Fleet fleet(ConfigFor(aggregation, "gradient_descent", 1), 2);
  fleet.Contribute(0, {0});
  fleet.Contribute(1, {0});
  fleet.Contribute(0, {8}, 3);
  fleet.Contribute(1, {2}, 3, /*staleness=*/1);  // counts by 1.5
  EXPECT_EQ(fleet.values(), std::vector<float>{-6});
  EXPECT_EQ(fleet.records()[1]->total_weight, 4.5);
  EXPECT_EQ(fleet.records()[1]->members[1].weight, 1.5f);
}

// Local steps of each worker, averaged: the parameters become the mean of the workers' (McMahan et
// al. 2017, arXiv:1602.05629, algorithm 1).
TEST(SessionRoundsTest, DifferencesUnderRateOneAreFederatedAveraging) {
  Fleet fleet(ConfigFor(Synchronous(), "gradient_descent", 4), 3);
  const std::vector<std::vector<float>> local = {{1, 2, 3, 4}, {3, -2, 5, 0}, {8, 6, 1, 0.5f}};
  const float samples[] = {1, 2, 1};
  for (size_t worker = 0; worker < 3; ++worker) {
    std::vector<float> difference = local[worker];  // from parameters of zero
    Negate(absl::MakeSpan(difference));
    fleet.Contribute(worker, difference, samples[worker]);
  }
  EXPECT_EQ(fleet.values(), (std::vector<float>{3.75f, 1, 3.5f, 1.125f}));
}

// Algorithm 2 of Reddi et al. 2021, arXiv:2003.00295, with Adam as the server's method, from x = 0:
//   D = sum_i p_i D_i    m = (1 - beta1) D    v = beta2 tau^2 + (1 - beta2) D^2
//   x = eta m / (sqrt(v) + tau)
TEST(SessionRoundsTest, FirstFedAdamStepIsThatOfThePaper) {
  SessionConfig config = ConfigFor(Synchronous(), "adam", 4);
  AdamConfig adam;
  adam.dialect = Dialect::kFederated;
  adam.beta1 = 0.9;
  adam.beta2 = 0.99;
  adam.epsilon = 1e-3;
  config.optimizer = std::make_shared<ConfigOf<AdamConfig>>(adam);
  Fleet fleet(config, 2);
  const std::vector<std::vector<float>> differences = {{0.1f, -2, 3e-4f, 0}, {0.7f, 1, 1e-4f, 5}};
  const float samples[] = {3, 1};
  for (size_t worker = 0; worker < 2; ++worker) {
    std::vector<float> gradient = differences[worker];
    Negate(absl::MakeSpan(gradient));  // as the server does
    fleet.Contribute(worker, gradient, samples[worker]);
  }
  const std::vector<float> values = fleet.values();
  for (size_t i = 0; i < 4; ++i) {
    const double mean = 0.75 * static_cast<double>(differences[0][i]) +
                        0.25 * static_cast<double>(differences[1][i]);
    const double m = 0.1 * mean;
    const double v = 0.99 * 1e-6 + 0.01 * mean * mean;
    EXPECT_NEAR(values[i], m / (std::sqrt(v) + 1e-3), 1e-6 * (1 + std::abs(values[i]))) << i;
  }
}

}  // namespace
}  // namespace talweg::core::round_fleet
