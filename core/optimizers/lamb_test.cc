// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/lamb.h"

#include <cmath>

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::DoubleEq;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pair;

ParameterSpace SpaceWith(std::vector<std::vector<uint64_t>> shapes) {
  std::vector<TensorSpec> tensors;
  for (auto& shape : shapes) {
    tensors.push_back({"t" + std::to_string(tensors.size()), std::move(shape)});
  }
  return {std::make_shared<const Layout>(*Layout::Create(std::move(tensors))), {}};
}

double NormOfDifference(absl::Span<const float> a, absl::Span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - b[i], 2);
  return std::sqrt(sum);
}

TEST(LambTest, EachTensorMovesByTheRateTimesItsOwnNorm) {
  // Tensors that begin and end inside blocks; each has its own scale.
  const ParameterSpace space = SpaceWith({{3}, {100, 50}, {7}, {9000}});
  std::vector<float> parameters(space.num_elements()), gradient(space.num_elements());
  for (size_t tensor = 0; tensor < 4; ++tensor) {
    for (uint64_t i = 0; i < space.layout->size_of(tensor); ++i) {
      const uint64_t at = space.layout->offsets()[tensor] + i;
      parameters[at] = static_cast<float>(tensor + 1) * (i % 2 == 0 ? 0.5f : -2.0f);
      gradient[at] = static_cast<float>(i % 5) - 2.5f;
    }
  }
  const std::vector<float> before = parameters;
  Lamb method({}, space);
  StepInPlace(method, 1, {0.125, 0.3}, gradient, parameters);
  for (size_t tensor = 0; tensor < 4; ++tensor) {
    const auto part = [&](const std::vector<float>& values) {
      return absl::MakeConstSpan(values).subspan(space.layout->offsets()[tensor],
                                                 space.layout->size_of(tensor));
    };
    const std::vector<float> zeros(part(before).size());
    EXPECT_NEAR(NormOfDifference(part(parameters), part(before)),
                0.125 * NormOfDifference(part(before), zeros), 1e-5)
        << tensor;
  }
}

TEST(LambTest, RatioIsOneWhereANormIsZero) {
  const ParameterSpace space = SpaceWith({{2}, {2}});
  // The first tensor starts at zero: Adam's step, the rate against the sign. The second has no
  // direction: it stays.
  Lamb method({}, space);
  std::vector<float> parameters = {0, 0, 3, 4};
  StepInPlace(method, 1, 0.25, {5, -5, 0, 0}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(-0.25f, 1e-6f), FloatNear(0.25f, 1e-6f), 3, 4));
}

TEST(LambTest, DecayIsPartOfTheDirection) {
  // Without a gradient r is decay W: its length does not matter, and W shrinks by the rate.
  Lamb method({}, SpaceWith({{2, 2}}));
  std::vector<float> parameters(4, 8);
  StepInPlace(method, 1, {0.25, 0.01}, std::vector<float>(4, 0), parameters);
  EXPECT_THAT(parameters, Each(FloatNear(6, 1e-5f)));
}

TEST(LambTest, TensorWithoutRatesIsLeftAlone) {
  const ParameterSpace space = SpaceWith({{2}, {2}});
  Lamb method({}, space);
  const std::vector<float> from = {1, 2, 3, 4};
  std::vector<float> to = from;  // a frozen tensor's next version is there already
  const StepRates rates{0.5, 0};
  method.BeginStep(1);
  const std::vector<float> gradient = {1, 1};
  method.Apply(rates, {0, 2}, gradient, from, absl::MakeSpan(to));
  method.EndPass(0);
  method.RunTask(
      0, 0, [&](size_t tensor) { return tensor == 0 ? &rates : nullptr; }, from,
      absl::MakeSpan(to));
  EXPECT_NE(to[0], 1);
  EXPECT_EQ(to[2], 3);
  EXPECT_EQ(to[3], 4);
}

TEST(LambTest, BiasCorrectionStaysRightWhereBetasChange) {
  // With a constant gradient m = (1 - product of beta1) g, whatever betas came along, and v alike,
  // so that r is 1 at every step, and the parameter loses half of itself.
  Lamb method({}, SpaceOf(1));
  std::vector<float> parameters = {8};
  StepInPlace(method, 1, 0.5, {2}, parameters);
  method.Configure(ConfigOf<LambConfig>({.beta1 = 0.2, .beta2 = 0.5}));
  StepInPlace(method, 2, 0.5, {2}, parameters);
  method.Configure(ConfigOf<LambConfig>({.beta1 = 0.99, .beta2 = 0.9999}));
  StepInPlace(method, 3, 0.5, {2}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(1, 1e-6f)));
  // 1 - beta1^3 with the last beta1 would be 0.0297.
  EXPECT_THAT(StateOf(method).scalars[0], Pair("beta1_product", DoubleEq(0.9 * 0.2 * 0.99)));
}

TEST(LambTest, NamesItsState) {
  Lamb method({.beta1 = 0.5, .beta2 = 0.75}, SpaceOf(1));
  std::vector<float> parameters = {1};
  StepInPlace(method, 1, 1, {2}, parameters);
  StepInPlace(method, 2, 1, {2}, parameters);
  const NamedState state = StateOf(method);
  EXPECT_THAT(state.slots,
              ElementsAre(Pair("m", ElementsAre(1.5f)), Pair("v", ElementsAre(1.75f))));
  EXPECT_THAT(state.scalars,
              ElementsAre(Pair("beta1_product", 0.25), Pair("beta2_product", 0.5625)));
}

}  // namespace
}  // namespace talweg::core
