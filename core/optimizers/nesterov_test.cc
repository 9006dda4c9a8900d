// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/nesterov.h"

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Pair;

// The parameter, from 1, after each of three steps with rates 1, 2, 1 and gradients 1, 2, 4. All
// numbers are exact in float32.
std::vector<float> Trajectory(const NesterovConfig& config) {
  Nesterov method(config, SpaceOf(1));
  std::vector<float> parameters = {1};
  std::vector<float> trajectory;
  for (const auto& [number, rate, gradient] :
       {std::tuple(1, 1.0, 1.0f), std::tuple(2, 2.0, 2.0f), std::tuple(3, 1.0, 4.0f)}) {
    StepInPlace(method, number, rate, {gradient}, parameters);
    trajectory.push_back(parameters[0]);
  }
  return trajectory;
}

TEST(NesterovTest, TutorialStepsAsMomentumDoes) {
  // m = 0.5, 1.25, 2.625
  EXPECT_THAT(Trajectory({.beta = 0.5}), ElementsAre(0.5f, -2, -4.625f));
}

TEST(NesterovTest, TorchTakesTheFirstGradientWholeAndStepsPastM) {
  // m = 1, 2.5, 5.25; steps 0.5 m + g = 1.5, 3.25, 6.625
  EXPECT_THAT(Trajectory({.beta = 0.5, .dialect = Dialect::kTorch}),
              ElementsAre(-0.5f, -7, -13.625f));
}

TEST(NesterovTest, KerasKeepsTheRateOfEachGradientInM) {
  // m = -1, -4.5, -6.25; steps 0.5 m - eta g = -1.5, -6.25, -7.125
  EXPECT_THAT(Trajectory({.beta = 0.5, .dialect = Dialect::kKeras}),
              ElementsAre(-0.5f, -6.75f, -13.875f));
}

TEST(NesterovTest, LookaheadIsWhereTheMomentumCarriesWithTheComingRate) {
  Nesterov method({.beta = 0.5}, SpaceOf(2));
  std::vector<float> parameters = {1, -1};
  std::vector<float> point(2);
  ASSERT_TRUE(method.HasLookahead());
  method.Lookahead({1, 0}, {0, 2}, parameters, absl::MakeSpan(point));
  EXPECT_EQ(point, parameters);  // no momentum yet
  StepInPlace(method, 1, 1, {4, -8}, parameters);
  EXPECT_THAT(parameters, ElementsAre(-1, 3));  // m = 2, -4
  // Decay is none of its business.
  method.Lookahead({0.25, 0.5}, {0, 2}, parameters, absl::MakeSpan(point));
  EXPECT_THAT(point, ElementsAre(-1 - 0.25f * 0.5f * 2, 3 + 0.25f * 0.5f * 4));
}

TEST(NesterovTest, LookaheadTouchesItsShardAlone) {
  Nesterov method({.beta = 0.5}, SpaceOf(3 * kBlock));
  std::vector<float> parameters(3 * kBlock);
  StepInPlace(method, 1, 1, std::vector<float>(3 * kBlock, 2), parameters);
  std::vector<float> point(3 * kBlock, 7);
  method.Lookahead({1, 0}, {kBlock, 2 * kBlock}, parameters, absl::MakeSpan(point));
  for (size_t i = 0; i < point.size(); ++i) ASSERT_EQ(point[i], i / kBlock == 1 ? -1.5f : 7) << i;
}

TEST(NesterovTest, OnlyTutorialLooksAhead) {
  EXPECT_FALSE(Nesterov({.dialect = Dialect::kTorch}, SpaceOf(1)).HasLookahead());
  EXPECT_FALSE(Nesterov({.dialect = Dialect::kKeras}, SpaceOf(1)).HasLookahead());
}

TEST(NesterovTest, GradientAtTheLookaheadIsTheOtherDialectsGradientAtTheirPoint) {
  // On the same quadratic, Keras's point is the tutorial's lookahead point: two ways to write one
  // method, if the rate stays and counts the averaging form's 1 - beta.
  constexpr double kBeta = 0.5;
  Nesterov tutorial({.beta = kBeta}, SpaceOf(1));
  Nesterov keras({.beta = kBeta, .dialect = Dialect::kKeras}, SpaceOf(1));
  std::vector<float> at_tutorial = {64}, at_keras = {64};
  for (uint64_t step = 1; step <= 6; ++step) {
    std::vector<float> point = at_tutorial;
    tutorial.Lookahead({0.5, 0}, {0, 1}, at_tutorial, absl::MakeSpan(point));
    ASSERT_THAT(point, Each(at_keras[0])) << step;
    StepInPlace(tutorial, step, 0.5, {0.5f * point[0]}, at_tutorial);
    StepInPlace(keras, step, 0.5 * (1 - kBeta), {0.5f * at_keras[0]}, at_keras);
  }
}

TEST(NesterovTest, RestoredSessionDoesNotTakeItsNextGradientForItsFirst) {
  const NesterovConfig config = {.beta = 0.5, .dialect = Dialect::kTorch};
  Nesterov saved(config, SpaceOf(1));
  std::vector<float> parameters = {1};
  StepInPlace(saved, 1, 1, {2}, parameters);
  Nesterov restored(config, SpaceOf(1));
  Restore(StateOf(saved), restored);
  StepInPlace(restored, 2, 1, {0}, parameters);
  EXPECT_THAT(parameters, ElementsAre(1 - 3 - 0.5f));  // m = 2, 1
}

TEST(NesterovTest, ConfigureTakesEffectWithTheNextStepAndTheNextLookahead) {
  Nesterov method({.beta = 0.5}, SpaceOf(1));
  std::vector<float> parameters = {0}, point = {0};
  StepInPlace(method, 1, 1, {1}, parameters);
  method.Configure(ConfigOf<NesterovConfig>({.beta = 0.75}));
  method.Lookahead({1, 0}, {0, 1}, parameters, absl::MakeSpan(point));
  EXPECT_THAT(point, ElementsAre(-0.5f - 0.75f * 0.5f));
  StepInPlace(method, 2, 1, {1}, parameters);
  EXPECT_THAT(parameters, ElementsAre(-0.5f - (0.75f * 0.5f + 0.25f)));
}

TEST(NesterovTest, NamesItsState) {
  Nesterov method({}, SpaceOf(2));
  std::vector<float> parameters(2);
  StepInPlace(method, 1, 1, {10, 20}, parameters);
  const NamedState state = StateOf(method);
  EXPECT_THAT(state.slots, ElementsAre(Pair("m", ElementsAre(1, 2))));
  EXPECT_THAT(state.scalars, ElementsAre(Pair("m_is_set", 1)));
}

}  // namespace
}  // namespace talweg::core
