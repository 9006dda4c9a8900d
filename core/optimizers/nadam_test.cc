// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/nadam.h"

#include <cmath>
#include <limits>

#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pair;

TEST(NadamTest, PowerOfPoint96IsThePower) {
  // By Python's decimal module with 60 digits, rounded once.
  const std::pair<double, double> kKnown[] = {
      {0, 0x1.0000000000000p+0},      {0.004, 0x1.ffea9969757dbp-1},  {0.5, 0x1.f5a7cecdb684ap-1},
      {1, 0x1.eb851eb851eb8p-1},      {1.5, 0x1.e196db02eca85p-1},    {2, 0x1.d7dbf487fcb92p-1},
      {10, 0x1.5464f179cb3f9p-1},     {12.2, 0x1.37281650a3311p-1},   {12.3, 0x1.35e393f3cd854p-1},
      {25, 0x1.710bd641f6be6p-2},     {64.75, 0x1.235ad9012c6a6p-4},  {100, 0x1.14673f7ad6623p-6},
      {999.5, 0x1.19426bb67617ep-59}, {10000, 0x1.0b7271acb0dcdp-589}};
  for (const auto& [exponent, power] : kKnown) {
    EXPECT_NEAR(PowerOfPoint96(exponent), power, 0x1p-52) << exponent;
    // And in relation to itself, as far as the squarings allow: exponent times 2^-55 or so.
    EXPECT_NEAR(PowerOfPoint96(exponent) / power, 1, (2 + exponent / 4) * 0x1p-52) << exponent;
  }
  EXPECT_EQ(PowerOfPoint96(0), 1);
  for (const double exponent : {32768.0, 1e18, 1e308, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(PowerOfPoint96(exponent), 0) << exponent;
  }
}

TEST(NadamTest, PowerOfPoint96NeverRises) {
  double last = 1;
  for (double exponent = 0; exponent < 40000; exponent += 0.37) {
    const double power = PowerOfPoint96(exponent);
    ASSERT_LE(power, last) << exponent;
    last = power;
  }
  EXPECT_EQ(last, 0);
}

TEST(NadamTest, FirstStepIsThatOfTheFormula) {
  // m / (1 - beta1) = g and v / c2 = g^2: what is left is n / g.
  Nadam method({.beta1 = 0.8, .beta2 = 0.95, .momentum_decay = 0.5}, SpaceOf(2));
  std::vector<float> parameters = {0, 0};
  StepInPlace(method, 1, 1, {3, -0.01f}, parameters);
  const double mu1 = 0.8 * (1 - 0.5 * std::pow(0.96, 0.5));
  const double mu2 = 0.8 * (1 - 0.5 * 0.96);
  const auto step = static_cast<float>(1 + mu2 / (1 - mu1 * mu2) * 0.2);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(-step, 4e-6f), FloatNear(step, 4e-6f)));
}

TEST(NadamTest, KerasIsAMomentumDecayOfOne) {
  // Keras's update_step, in double.
  Nadam method({.epsilon = 1e-7, .momentum_decay = 1}, SpaceOf(1));
  std::vector<float> parameters = {1};
  double w = 1, m = 0, v = 0, u_product = 1;
  for (int t = 1; t <= 20; ++t) {
    const float g = std::sin(static_cast<float>(3 * t));
    StepInPlace(method, static_cast<uint64_t>(t), 0.01, {g}, parameters);
    const double u_t = 0.9 * (1 - 0.5 * std::pow(0.96, t));
    const double u_t_1 = 0.9 * (1 - 0.5 * std::pow(0.96, t + 1));
    u_product *= u_t;
    m += (g - m) * (1 - 0.9);
    v += (double{g} * g - v) * (1 - 0.999);
    const double m_hat = u_t_1 * m / (1 - u_product * u_t_1) + (1 - u_t) * g / (1 - u_product);
    w -= m_hat * 0.01 / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-7);
    ASSERT_NEAR(parameters[0], w, 1e-6) << t;
  }
}

TEST(NadamTest, MuGoesByTheNumberOfTheStepAndLivesThroughChanges) {
  const auto mu_of = [](double beta1, double psi, int t) {
    return beta1 * (1 - 0.5 * std::pow(0.96, t * psi));
  };
  Nadam method({.beta1 = 0.5, .momentum_decay = 2}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {1}, parameters);
  method.Configure(ConfigOf<NadamConfig>({.beta1 = 0.75, .beta2 = 0.5, .momentum_decay = 0.25}));
  StepInPlace(method, 2, 1, {1}, parameters);
  const NamedState state = StateOf(method);
  ASSERT_EQ(state.scalars.size(), 2u);
  EXPECT_EQ(state.scalars[0].first, "mu_product");
  EXPECT_NEAR(state.scalars[0].second, mu_of(0.5, 2, 1) * mu_of(0.75, 0.25, 2), 1e-15);
  EXPECT_THAT(state.scalars[1], Pair("beta2_product", 0.999 * 0.5));
}

TEST(NadamTest, NamesItsState) {
  Nadam method({.beta1 = 0.5, .beta2 = 0.75}, SpaceOf(1));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 1, {2}, parameters);
  StepInPlace(method, 2, 1, {2}, parameters);
  EXPECT_THAT(StateOf(method).slots,
              ElementsAre(Pair("m", ElementsAre(1.5f)), Pair("v", ElementsAre(1.75f))));
}

TEST(NadamTest, TinyEpsilonDoesNotBecomeADivisionByZero) {
  Nadam method({.epsilon = 1e-300}, SpaceOf(1));
  std::vector<float> parameters = {1};
  StepInPlace(method, 1, 0.1, {0}, parameters);
  EXPECT_THAT(parameters, ElementsAre(1));
}

}  // namespace
}  // namespace talweg::core
