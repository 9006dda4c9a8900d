// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/momentum.h"

#include "core/base/reasons.h"
#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// The parameter, from 1, after each of three steps with rates 1, 2, 1 and gradients 1, 2, 4. All
// numbers are exact in float32.
std::vector<float> Trajectory(const MomentumConfig& config) {
  Momentum method(config, SpaceOf(1));
  std::vector<float> parameters = {1};
  std::vector<float> trajectory;
  for (const auto& [number, rate, gradient] :
       {std::tuple(1, 1.0, 1.0f), std::tuple(2, 2.0, 2.0f), std::tuple(3, 1.0, 4.0f)}) {
    StepInPlace(method, number, rate, {gradient}, parameters);
    trajectory.push_back(parameters[0]);
  }
  return trajectory;
}

TEST(MomentumTest, TutorialAveragesTheGradients) {
  // m = 0.5, 1.25, 2.625
  EXPECT_THAT(Trajectory({.beta = 0.5}), ElementsAre(0.5f, -2, -4.625f));
}

TEST(MomentumTest, TorchTakesTheFirstGradientWholeAndDampensTheRest) {
  // m = 1, 2.5, 5.25
  EXPECT_THAT(Trajectory({.beta = 0.5, .dialect = Dialect::kTorch}), ElementsAre(0, -5, -10.25f));
  // m = 1, 0.5 + 0.5, 0.5 + 1
  EXPECT_THAT(Trajectory({.beta = 0.5, .dialect = Dialect::kTorch, .dampening = 0.75}),
              ElementsAre(0, -2, -3.5f));
}

TEST(MomentumTest, KerasKeepsTheRateOfEachGradientInM) {
  // m = -1, -4.5, -6.25
  EXPECT_THAT(Trajectory({.beta = 0.5, .dialect = Dialect::kKeras}),
              ElementsAre(0, -4.5f, -10.75f));
}

TEST(MomentumTest, DampeningOutsideTorchIsAnErrorThatNamesIt) {
  for (const Dialect dialect : {Dialect::kTutorial, Dialect::kKeras}) {
    const absl::Status status = MomentumConfig{.dialect = dialect, .dampening = 0.1}.Validate();
    EXPECT_EQ(ReasonName(status), "HYPERPARAMETER_OUT_OF_RANGE");
    EXPECT_EQ(FieldName(status), "dampening");
    EXPECT_TRUE(MomentumConfig{.dialect = dialect}.Validate().ok());
  }
  EXPECT_TRUE((MomentumConfig{.dialect = Dialect::kTorch, .dampening = 0.1}.Validate().ok()));
}

TEST(MomentumTest, RestoredSessionDoesNotTakeItsNextGradientForItsFirst) {
  const MomentumConfig config = {.beta = 0.5, .dialect = Dialect::kTorch, .dampening = 0.75};
  Momentum saved(config, SpaceOf(1));
  std::vector<float> parameters = {1};
  // A first gradient of 0 leaves an m that looks untouched.
  StepInPlace(saved, 1, 1, {0}, parameters);
  Momentum restored(config, SpaceOf(1));
  Restore(StateOf(saved), restored);
  StepInPlace(restored, 2, 1, {4}, parameters);
  EXPECT_THAT(parameters, ElementsAre(0));  // 1 - 0.25 * 4
}

TEST(MomentumTest, ConfigureTakesEffectWithTheNextStep) {
  Momentum method({.beta = 0.5}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {1}, parameters);
  method.Configure(ConfigOf<MomentumConfig>({.beta = 0.75}));
  StepInPlace(method, 2, 1, {1}, parameters);
  EXPECT_THAT(parameters, ElementsAre(-0.5f - (0.75f * 0.5f + 0.25f)));
}

TEST(MomentumTest, NamesItsState) {
  Momentum method({}, SpaceOf(2));
  std::vector<float> parameters(2);
  StepInPlace(method, 1, 1, {10, 20}, parameters);
  const NamedState state = StateOf(method);
  EXPECT_THAT(state.slots, ElementsAre(Pair("m", ElementsAre(1, 2))));
  EXPECT_THAT(state.scalars, ElementsAre(Pair("m_is_set", 1)));
}

}  // namespace
}  // namespace talweg::core
