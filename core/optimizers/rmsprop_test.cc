// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/rmsprop.h"

#include <cmath>

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Pair;

constexpr Dialect kDialects[] = {Dialect::kTorch, Dialect::kKeras};

TEST(RmspropTest, DividesByTheRootOfTheAverageOfSquares) {
  Rmsprop method({.alpha = 0.75}, SpaceOf(1));
  std::vector<float> parameters = {1};
  StepInPlace(method, 1, 1, {4}, parameters);  // v = 4
  EXPECT_THAT(parameters, ElementsAre(-1));
  StepInPlace(method, 2, 1, {2}, parameters);  // v = 4
  EXPECT_THAT(parameters, ElementsAre(-2));
}

TEST(RmspropTest, DialectSaysWhereEpsilonStands) {
  // v = 9, epsilon = 7: beside the root 3, or under it.
  const auto step_of = [](Dialect dialect) {
    Rmsprop method({.alpha = 0.75, .epsilon = 7, .dialect = dialect}, SpaceOf(1));
    std::vector<float> parameters = {0};
    StepInPlace(method, 1, 1, {6}, parameters);
    return -parameters[0];
  };
  EXPECT_FLOAT_EQ(step_of(Dialect::kTorch), 0.6f);
  EXPECT_FLOAT_EQ(step_of(Dialect::kKeras), 1.5f);
}

TEST(RmspropTest, CenteredDividesByTheSpread) {
  // v = 3, mean = 1.5: v - mean^2 = 0.75.
  for (const Dialect dialect : kDialects) {
    Rmsprop method({.alpha = 0.25, .epsilon = 1e-12, .centered = true, .dialect = dialect},
                   SpaceOf(1));
    std::vector<float> parameters = {0};
    StepInPlace(method, 1, 1, {2}, parameters);
    EXPECT_THAT(parameters, ElementsAre(FloatEq(-2 / std::sqrt(0.75f))));
  }
}

TEST(RmspropTest, CenteredSurvivesAGradientThatDoesNotChange) {
  // v - mean^2 in float32 rounds to either side of 0.
  for (const Dialect dialect : kDialects) {
    Rmsprop method({.alpha = 0.5, .epsilon = 0.1, .centered = true, .dialect = dialect},
                   SpaceOf(64));
    std::vector<float> parameters(64), gradient(64);
    for (size_t i = 0; i < 64; ++i) gradient[i] = 1 + 0.013f * static_cast<float>(i);
    for (uint64_t step = 1; step <= 60; ++step) {
      StepInPlace(method, step, 0.01, gradient, parameters);
      for (const float value : parameters) ASSERT_TRUE(std::isfinite(value)) << step;
    }
  }
}

TEST(RmspropTest, MomentumSumsStepsWithOrWithoutTheirRates) {
  // Steps without their rates: 4 / 2, then 2 / 2; rates 1, 3.
  const auto after_two = [](Dialect dialect) {
    Rmsprop method({.alpha = 0.75, .epsilon = 1e-12, .momentum = 0.5, .dialect = dialect},
                   SpaceOf(1));
    std::vector<float> parameters = {0};
    StepInPlace(method, 1, 1, {4}, parameters);
    EXPECT_THAT(parameters, ElementsAre(-2));
    StepInPlace(method, 2, 3, {2}, parameters);
    return parameters[0];
  };
  EXPECT_EQ(after_two(Dialect::kTorch), -2 - 3 * (0.5f * 2 + 1));
  EXPECT_EQ(after_two(Dialect::kKeras), -2 - (0.5f * 2 + 3));
}

TEST(RmspropTest, KeepsTheSlotsThatItNeeds) {
  const auto names_of = [](const RmspropConfig& config) {
    Rmsprop method(config, SpaceOf(1));
    std::vector<std::string> names;
    for (const auto& slot : StateOf(method).slots) names.push_back(slot.first);
    return names;
  };
  EXPECT_THAT(names_of({}), ElementsAre("v"));
  EXPECT_THAT(names_of({.centered = true}), ElementsAre("c", "last_gradient", "last_offset"));
  EXPECT_THAT(names_of({.momentum = 0.9}), ElementsAre("v", "m"));
  EXPECT_THAT(names_of({.centered = true, .momentum = 0.9}),
              ElementsAre("c", "last_gradient", "last_offset", "m"));
}

TEST(RmspropTest, NamesItsState) {
  Rmsprop method({.alpha = 0.75, .epsilon = 1e-12, .centered = true, .momentum = 0.5}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {4}, parameters);
  // v = 4, mean = 1.
  const float step = 4 / std::sqrt(3.0f);
  EXPECT_THAT(
      StateOf(method).slots,
      ElementsAre(Pair("c", ElementsAre(3)), Pair("last_gradient", ElementsAre(4)),
                  Pair("last_offset", ElementsAre(3)), Pair("m", ElementsAre(FloatEq(step)))));
}

// Loads the slots v and mean, as an earlier version named them.
struct EarlierState : StateVisitor {
  float v, mean;

  EarlierState(float v_value, float mean_value) : v(v_value), mean(mean_value) {}
  bool Lacks(absl::string_view name) override { return name != "v" && name != "mean"; }
  void Slot(absl::string_view name, absl::Span<float> values) override {
    for (float& value : values) value = name == "v" ? v : mean;
  }
  void Scalar(absl::string_view, double&) override {}
};

TEST(RmspropTest, CenteredGoesOnFromTheAverageOfSquaresAndTheMean) {
  Rmsprop method({.alpha = 0.75, .epsilon = 1e-12, .centered = true}, SpaceOf(1));
  EarlierState earlier(4, 1);
  method.VisitState(earlier);
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {3}, parameters);
  // v = 0.75 * 4 + 0.25 * 9 = 5.25, mean = 0.75 * 1 + 0.25 * 3 = 1.5.
  EXPECT_THAT(parameters, ElementsAre(FloatEq(-3 / std::sqrt(5.25f - 2.25f))));
  EXPECT_THAT(StateOf(method).slots,
              ElementsAre(Pair("c", ElementsAre(3)), Pair("last_gradient", ElementsAre(3)),
                          Pair("last_offset", ElementsAre(1.5f))));
  // Rounding had made the difference negative.
  Rmsprop negative({.epsilon = 0.5, .centered = true}, SpaceOf(1));
  EarlierState rounded(1, 1.0000001f);
  negative.VisitState(rounded);
  EXPECT_THAT(StateOf(negative).slots[0], Pair("c", ElementsAre(0)));
}

TEST(RmspropTest, TinyEpsilonDoesNotBecomeADivisionByZero) {
  for (const Dialect dialect : kDialects) {
    for (const bool centered : {false, true}) {
      Rmsprop method({.epsilon = 1e-300, .centered = centered, .dialect = dialect}, SpaceOf(1));
      std::vector<float> parameters = {1};
      StepInPlace(method, 1, 0.1, {0}, parameters);
      EXPECT_THAT(parameters, Each(1));
    }
  }
}

}  // namespace
}  // namespace talweg::core
