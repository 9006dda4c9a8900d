// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/adam.h"

#include <cmath>

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;
using ::testing::Pair;

constexpr Dialect kDialects[] = {Dialect::kTorch, Dialect::kKeras, Dialect::kPaper};
constexpr double kTau = 0.25;  // v starts at 1/16

TEST(AdamTest, FirstStepIsTheRateAgainstTheSignOfTheGradient) {
  // m / c1 = g and v / c2 = g^2, whatever the betas; epsilon / |g| is 1e-6 at most.
  for (const Dialect dialect : kDialects) {
    Adam method({.beta1 = 0.7, .beta2 = 0.95, .dialect = dialect}, SpaceOf(2));
    std::vector<float> parameters = {1, 1};
    StepInPlace(method, 1, 0.25, {3, -0.01f}, parameters);
    EXPECT_THAT(parameters, ElementsAre(FloatNear(0.75f, 2e-6f), FloatNear(1.25f, 2e-6f)));
  }
}

TEST(AdamTest, DialectSaysWhereEpsilonStands) {
  // One step with g = 1, c2 = 0.19: epsilon 1 beside sqrt(v / c2) = 1, or beside sqrt(v) = 0.4359.
  const auto step_of = [](Dialect dialect) {
    Adam method({.beta1 = 0, .beta2 = 0.81, .epsilon = 1, .dialect = dialect}, SpaceOf(1));
    std::vector<float> parameters = {0};
    StepInPlace(method, 1, 1, {1}, parameters);
    return -parameters[0];
  };
  const double root_c2 = std::sqrt(0.19);
  EXPECT_FLOAT_EQ(step_of(Dialect::kTorch), 0.5f);
  EXPECT_FLOAT_EQ(step_of(Dialect::kPaper), 0.5f);
  EXPECT_FLOAT_EQ(step_of(Dialect::kKeras), static_cast<float>(root_c2 / (root_c2 + 1)));
}

TEST(AdamTest, AmsgradDividesByTheLargestVSoFar) {
  for (const Dialect dialect : kDialects) {
    Adam plain({.beta2 = 0.5, .dialect = dialect}, SpaceOf(1));
    Adam amsgrad({.beta2 = 0.5, .dialect = dialect, .amsgrad = true}, SpaceOf(1));
    std::vector<float> plain_parameters = {0}, parameters = {0};
    StepInPlace(plain, 1, 1, {4}, plain_parameters);
    StepInPlace(amsgrad, 1, 1, {4}, parameters);
    EXPECT_EQ(plain_parameters, parameters);  // v grew: nothing to hold on to
    StepInPlace(plain, 2, 1, {0}, plain_parameters);
    StepInPlace(amsgrad, 2, 1, {0}, parameters);
    EXPECT_LT(std::abs(parameters[0]), std::abs(plain_parameters[0]));
    EXPECT_THAT(StateOf(amsgrad).slots,
                ElementsAre(Pair("m", ElementsAre(FloatEq(0.36f))), Pair("v", ElementsAre(4)),
                            Pair("v_max", ElementsAre(8))));
  }
}

TEST(AdamTest, FederatedIsFedAdam) {
  // Algorithm 2 of arXiv:2003.00295 with Delta = -g, at the start and one step on.
  Adam method({.beta1 = 0.5, .beta2 = 0.75, .epsilon = kTau, .dialect = Dialect::kFederated},
              SpaceOf(2));
  EXPECT_THAT(StateOf(method).slots,
              ElementsAre(Pair("m", ElementsAre(0, 0)), Pair("v", ElementsAre(0.0625f, 0.0625f))));
  std::vector<float> parameters = {1, 1};
  double w[2] = {1, 1}, m[2] = {0, 0}, v[2] = {kTau * kTau, kTau * kTau};
  const float gradients[2][2] = {{2, -0.5f}, {0.25f, 3}};
  for (const uint64_t step : {1, 2}) {
    StepInPlace(method, step, 0.125, {gradients[step - 1][0], gradients[step - 1][1]}, parameters);
    for (size_t i = 0; i < 2; ++i) {
      const double delta = -static_cast<double>(gradients[step - 1][i]);
      m[i] = 0.5 * m[i] + (1 - 0.5) * delta;
      v[i] = 0.75 * v[i] + (1 - 0.75) * delta * delta;
      w[i] += 0.125 * m[i] / (std::sqrt(v[i]) + kTau);
      EXPECT_FLOAT_EQ(parameters[i], static_cast<float>(w[i])) << i << " after step " << step;
    }
  }
}

TEST(AdamTest, FederatedLeavesWhatNobodyMovedAlone) {
  Adam method({.dialect = Dialect::kFederated}, SpaceOf(1));
  std::vector<float> parameters = {1};
  for (const uint64_t step : {1, 2, 3}) StepInPlace(method, step, 0.1, {0}, parameters);
  EXPECT_THAT(parameters, ElementsAre(1));
}

TEST(AdamTest, AmsgradOfFederatedStartsAtTheSameV) {
  Adam method({.beta2 = 0.5, .epsilon = kTau, .dialect = Dialect::kFederated, .amsgrad = true},
              SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {0}, parameters);
  EXPECT_THAT(StateOf(method).slots,
              ElementsAre(Pair("m", ElementsAre(0)), Pair("v", ElementsAre(0.03125f)),
                          Pair("v_max", ElementsAre(0.0625f))));
}

TEST(AdamTest, WhatVStartedAtStaysWhereEpsilonChanges) {
  AdamConfig config = {.beta2 = 0.5, .epsilon = kTau, .dialect = Dialect::kFederated};
  Adam method(config, SpaceOf(1));
  config.epsilon = 1;
  method.Configure(ConfigOf<AdamConfig>(config));
  EXPECT_THAT(StateOf(method).slots,
              ElementsAre(Pair("m", ElementsAre(0)), Pair("v", ElementsAre(0.0625f))));
}

TEST(AdamTest, NamesItsState) {
  Adam method({.beta1 = 0.5, .beta2 = 0.75}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {2}, parameters);
  StepInPlace(method, 2, 1, {2}, parameters);
  const NamedState state = StateOf(method);
  EXPECT_THAT(state.slots,
              ElementsAre(Pair("m", ElementsAre(1.5f)), Pair("v", ElementsAre(1.75f))));
  EXPECT_THAT(state.scalars,
              ElementsAre(Pair("beta1_product", 0.25), Pair("beta2_product", 0.5625)));
}

TEST(AdamTest, BiasCorrectionStaysRightWhereBetasChange) {
  // With a constant gradient m = (1 - product of beta1) g, whatever betas came along, and v alike,
  // so that every step is the rate.
  Adam method({}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 0.5, {2}, parameters);
  method.Configure(ConfigOf<AdamConfig>({.beta1 = 0.2, .beta2 = 0.5}));
  StepInPlace(method, 2, 0.5, {2}, parameters);
  method.Configure(ConfigOf<AdamConfig>({.beta1 = 0.99, .beta2 = 0.9999}));
  StepInPlace(method, 3, 0.5, {2}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(-1.5f, 1e-6f)));
}

TEST(AdamTest, TinyEpsilonDoesNotBecomeADivisionByZero) {
  for (const Dialect dialect : kDialects) {
    Adam method({.epsilon = 1e-300, .dialect = dialect}, SpaceOf(1));
    std::vector<float> parameters = {1};
    StepInPlace(method, 1, 0.1, {0}, parameters);
    EXPECT_THAT(parameters, ElementsAre(1));
  }
}

}  // namespace
}  // namespace talweg::core
