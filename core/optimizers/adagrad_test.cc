// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/adagrad.h"

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Pair;

TEST(AdagradTest, DividesByTheRootOfTheSumOfAllSquares) {
  Adagrad method({}, SpaceOf(2));
  std::vector<float> parameters = {1, 1};
  StepInPlace(method, 1, 0.5, {3, -6}, parameters);
  EXPECT_THAT(parameters, ElementsAre(0.5f, 1.5f));
  StepInPlace(method, 2, 0.5, {4, 8}, parameters);  // roots 5 and 10
  EXPECT_THAT(parameters, ElementsAre(FloatEq(0.5f - 0.4f), FloatEq(1.5f - 0.4f)));
}

TEST(AdagradTest, DialectSaysWhereEpsilonStands) {
  // v = 9, epsilon = 7: beside the root 3, or under it.
  const auto step_of = [](Dialect dialect) {
    Adagrad method({.epsilon = 7, .dialect = dialect}, SpaceOf(1));
    std::vector<float> parameters = {0};
    StepInPlace(method, 1, 1, {3}, parameters);
    return -parameters[0];
  };
  EXPECT_FLOAT_EQ(step_of(Dialect::kTorch), 0.3f);
  EXPECT_FLOAT_EQ(step_of(Dialect::kKeras), 0.75f);
}

TEST(AdagradTest, SumStartsAtTheInitialAccumulator) {
  Adagrad method({.initial_accumulator = 16}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {3}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatEq(-0.6f)));
}

TEST(AdagradTest, NamesItsState) {
  Adagrad method({.initial_accumulator = 0.5}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {2}, parameters);
  StepInPlace(method, 2, 1, {3}, parameters);
  EXPECT_THAT(StateOf(method).slots, ElementsAre(Pair("v", ElementsAre(13.5f))));
  EXPECT_TRUE(StateOf(method).scalars.empty());
}

TEST(AdagradTest, TinyEpsilonDoesNotBecomeADivisionByZero) {
  for (const Dialect dialect : {Dialect::kTorch, Dialect::kKeras}) {
    Adagrad method({.epsilon = 1e-300, .dialect = dialect}, SpaceOf(1));
    std::vector<float> parameters = {1};
    StepInPlace(method, 1, 0.1, {0}, parameters);
    EXPECT_THAT(parameters, ElementsAre(1));
  }
}

}  // namespace
}  // namespace talweg::core
