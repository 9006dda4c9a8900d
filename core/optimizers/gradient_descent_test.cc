// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/gradient_descent.h"

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;

TEST(GradientDescentTest, StepsAgainstTheGradientByTheRateOfTheStep) {
  GradientDescent method({}, SpaceOf(2));
  std::vector<float> parameters = {1, -1};
  StepInPlace(method, 1, 0.5, {2, 4}, parameters);
  EXPECT_THAT(parameters, ElementsAre(0, -3));
  StepInPlace(method, 2, 0.25, {2, 4}, parameters);
  EXPECT_THAT(parameters, ElementsAre(-0.5f, -4));
}

TEST(GradientDescentTest, WritesTheNextVersionBesideThisOne) {
  GradientDescent method({}, SpaceOf(2));
  const std::vector<float> from = {1, -1};
  std::vector<float> to(2);
  method.BeginStep(1);
  method.Apply({0.5, 0}, {0, 2}, std::vector<float>{2, 4}, from, absl::MakeSpan(to));
  EXPECT_THAT(from, ElementsAre(1, -1));
  EXPECT_THAT(to, ElementsAre(0, -3));
}

TEST(GradientDescentTest, TouchesItsShardAlone) {
  GradientDescent method({}, SpaceOf(3 * kBlock));
  std::vector<float> parameters(3 * kBlock, 1);
  method.BeginStep(1);
  method.Apply({1, 0}, {kBlock, 2 * kBlock}, std::vector<float>(kBlock, 1), parameters,
               absl::MakeSpan(parameters));
  for (size_t i = 0; i < parameters.size(); ++i) {
    ASSERT_EQ(parameters[i], i / kBlock == 1 ? 0 : 1) << i;
  }
}

}  // namespace
}  // namespace talweg::core
