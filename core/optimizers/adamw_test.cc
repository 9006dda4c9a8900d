// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/adamw.h"

#include "core/optimizers/optimizer_testing.h"
#include "core/optimizers/registry.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

TEST(AdamWTest, DecaysTheParametersBesideTheStep) {
  AdamW method({}, SpaceOf(2));
  std::vector<float> parameters = {8, 8};
  // The first step is the rate against the sign of the gradient, however small that is.
  StepInPlace(method, 1, StepRates{0.25, 0.5}, {3, -0.01f}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(7 - 0.25f, 2e-6f), FloatNear(7 + 0.25f, 2e-6f)));
}

TEST(AdamWTest, DecayDoesNotReachTheAverages) {
  AdamW with({}, SpaceOf(1)), without({}, SpaceOf(1));
  std::vector<float> decayed = {8}, plain = {8};
  for (uint64_t step = 1; step <= 3; ++step) {
    StepInPlace(with, step, StepRates{0.25, 0.5}, {3}, decayed);
    StepInPlace(without, step, StepRates{0.25, 0}, {3}, plain);
  }
  EXPECT_NE(decayed, plain);
  EXPECT_EQ(StateOf(with).slots, StateOf(without).slots);
}

TEST(AdamWTest, DecaysWhereTheSessionDoesNotSayAndAdamDoesNot) {
  EXPECT_EQ(FindMethod("adamw")->default_decay, 0.01);
  EXPECT_EQ(FindMethod("adam")->default_decay, 0);
}

TEST(AdamWTest, LeavesTheFederatedDialectToAdam) {
  EXPECT_TRUE(FindMethod("adam")->default_config()->Set("dialect", Dialect::kFederated).ok());
  EXPECT_FALSE(FindMethod("adamw")->default_config()->Set("dialect", Dialect::kFederated).ok());
}

TEST(AdamWTest, TakesOtherHyperParameters) {
  AdamW method({}, SpaceOf(1));
  AdamWConfig config;
  config.beta1 = 0;
  method.Configure(ConfigOf<AdamWConfig>(config));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, StepRates{1, 0}, {3}, parameters);
  EXPECT_EQ(StateOf(method).slots[0].second, std::vector<float>{3});
}

}  // namespace
}  // namespace talweg::core
