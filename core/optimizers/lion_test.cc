// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/lion.h"

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Pair;

TEST(LionTest, EveryElementMovesByTheRateOrNotAtAll) {
  Lion method({}, SpaceOf(4));
  std::vector<float> parameters = {1, 1, 1, 1};
  StepInPlace(method, 1, 0.25, {3e30f, -1e-30f, 0, -0.0f}, parameters);
  EXPECT_THAT(parameters, ElementsAre(0.75f, 1.25f, 1, 1));
}

TEST(LionTest, DirectionBlendsTheOldMByItsOwnBeta) {
  // m = 4 after the first step; with g = -3 the blends are 0.5 (m + g) > 0, whatever m becomes.
  Lion method({.beta1 = 0.5, .beta2 = 0}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {4}, parameters);
  StepInPlace(method, 2, 1, {-3}, parameters);
  EXPECT_THAT(parameters, ElementsAre(-2));
  EXPECT_THAT(StateOf(method).slots, ElementsAre(Pair("m", ElementsAre(-3))));
  StepInPlace(method, 3, 1, {3}, parameters);  // a blend of exactly 0
  EXPECT_THAT(parameters, ElementsAre(-2));
}

TEST(LionTest, DecaysBesideTheStep) {
  Lion method({}, SpaceOf(1));
  std::vector<float> parameters = {8};
  StepInPlace(method, 1, StepRates{0.25, 0.5}, {1}, parameters);
  EXPECT_THAT(parameters, ElementsAre(7 - 0.25f));
}

TEST(LionTest, ConfigureTakesEffectWithTheNextStep) {
  Lion method({.beta2 = 0.5}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {2}, parameters);  // m = 1
  method.Configure(ConfigOf<LionConfig>({.beta1 = 0, .beta2 = 0.75}));
  StepInPlace(method, 2, 1, {-4}, parameters);  // the gradient alone
  EXPECT_THAT(parameters, ElementsAre(0));
  EXPECT_THAT(StateOf(method).slots, ElementsAre(Pair("m", ElementsAre(-0.25f))));
}

TEST(LionTest, NamesItsState) {
  Lion method({}, SpaceOf(2));
  std::vector<float> parameters(2);
  StepInPlace(method, 1, 1, {100, 200}, parameters);
  EXPECT_THAT(StateOf(method).slots, ElementsAre(Pair("m", ElementsAre(FloatEq(1), FloatEq(2)))));
  EXPECT_TRUE(StateOf(method).scalars.empty());
}

}  // namespace
}  // namespace talweg::core
