// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/quadratic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace talweg {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::FloatEq;

constexpr double kMu = 2;
constexpr double kL = 500;

std::vector<DescentRule> AllRules() {
  return {FastestGradientDescent(kMu, kL), SafeGradientDescent(kL), FastestHeavyBall(kMu, kL),
          SafeHeavyBall(kMu, kL), StronglyConvexNesterov(kMu, kL)};
}

// The rule itself, step by step, on one coordinate that starts at 1.
double Simulated(const DescentRule& rule, double lambda, uint64_t num_steps) {
  double x = 1;
  double v = 0;
  for (uint64_t step = 0; step < num_steps; ++step) {
    const double point = rule.lookahead ? x + rule.beta * v : x;
    v = rule.beta * v - rule.eta * lambda * point;
    x += v;
  }
  return x;
}

TEST(QuadraticTest, GradientIsThatOfTheLoss) {
  const Quadratic quadratic = {{1, 4}};
  EXPECT_DOUBLE_EQ(quadratic.Loss({3.0f, 0.5f}), 5);
  std::vector<float> gradient(2);
  quadratic.Gradient({3.0f, 0.5f}, absl::MakeSpan(gradient));
  EXPECT_THAT(gradient, ElementsAre(FloatEq(3), FloatEq(2)));
  EXPECT_THAT(LogSpaced(1, 100, 3),
              ElementsAre(DoubleNear(1, 1e-12), DoubleNear(10, 1e-12), DoubleNear(100, 1e-12)));
}

TEST(QuadraticTest, ClosedFormIsTheRuleItself) {
  for (const DescentRule& rule : AllRules()) {
    for (const double lambda : {kMu, 3.0, 77.0, 250.0, kL}) {
      for (const uint64_t step : {0u, 1u, 2u, 3u, 10u, 101u, 400u}) {
        EXPECT_NEAR(ErrorFactor(rule, lambda, step), Simulated(rule, lambda, step), 1e-6)
            << rule.eta << " " << rule.beta << " " << lambda << " " << step;
      }
    }
  }
}

TEST(QuadraticTest, ContractionsAreThoseOfTheBooks) {
  const double root = std::sqrt(kL / kMu);
  const double condition = kL / kMu;
  const double expected[] = {(condition - 1) / (condition + 1), 1 - 1 / condition,
                             (root - 1) / (root + 1), 1 - 1 / root, 1 - 1 / root};
  const std::vector<DescentRule> rules = AllRules();
  for (size_t i = 0; i < rules.size(); ++i) {
    double slowest = 0;
    for (const double lambda : LogSpaced(kMu, kL, 200)) {
      slowest = std::max(slowest, Contraction(rules[i], lambda));
    }
    EXPECT_NEAR(slowest, expected[i], 1e-6) << i;
  }
}

TEST(QuadraticTest, FastestConstantsCannotBeBettered) {
  for (const DescentRule& rule : {FastestGradientDescent(kMu, kL), FastestHeavyBall(kMu, kL)}) {
    const auto slowest = [](const DescentRule& tried) {
      return std::max(Contraction(tried, kMu), Contraction(tried, kL));
    };
    for (const double factor : {0.98, 1.02}) {
      DescentRule other = rule;
      other.eta *= factor;
      EXPECT_GT(slowest(other), slowest(rule));
      if (rule.beta == 0) continue;
      other = rule;
      other.beta *= factor;
      EXPECT_GT(slowest(other), slowest(rule));
    }
  }
}

TEST(QuadraticTest, PredictsTheStepsOfGradientDescent) {
  const Quadratic quadratic = {{1, 1000}};
  const std::vector<float> start = {1, 0.0316227766f};
  // Both directions shrink by (k-1)/(k+1): log(1e-6) / (2 log(999/1001)) = 3453.9.
  EXPECT_EQ(PredictedSteps(FastestGradientDescent(1, 1000), quadratic, start, 1e-6, 100000), 3454u);
  EXPECT_EQ(PredictedSteps(FastestGradientDescent(1, 1000), quadratic, start, 1e-6, 100), 100u);
}

TEST(QuadraticTest, AveragingServersTakeALargerRate) {
  EXPECT_DOUBLE_EQ(AveragingRate({0.1, 0.75, false}), 0.4);
}

}  // namespace
}  // namespace talweg
