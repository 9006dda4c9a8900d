// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/muon.h"

#include <algorithm>
#include <cmath>

#include "core/optimizers/adam.h"
#include "core/optimizers/optimizer_testing.h"
#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::FloatNear;
using ::testing::Pair;

ParameterSpace SpaceWith(std::vector<std::vector<uint64_t>> shapes,
                         std::vector<TensorRole> roles = {}) {
  std::vector<TensorSpec> tensors;
  for (auto& shape : shapes) {
    tensors.push_back({"t" + std::to_string(tensors.size()), std::move(shape)});
  }
  return {std::make_shared<const Layout>(*Layout::Create(std::move(tensors))), std::move(roles)};
}

std::vector<float> Noise(size_t size, uint64_t seed) {
  std::vector<float> values(size);
  for (float& value : values) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    value = static_cast<float>(static_cast<double>(seed >> 40) / 8388608 - 1);
  }
  return values;
}

// p(p(p(p(p(1))))) of Newton-Schulz: what it makes of a matrix of rank one.
double PolynomialOfOne() {
  double s = 1;
  for (int step = 0; step < 5; ++step) {
    s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
  }
  return s;
}

TEST(MuonTest, StepOfARankOneMatrixIsItsDirectionScaled) {
  // g = [3 4; 0 0] / 100: norm 0.05, direction (0.6, 0.8), whatever its length.
  for (const bool match : {false, true}) {
    Muon method({.match_rms_adamw = match}, SpaceWith({{4, 2}}));
    std::vector<float> parameters(8, 1);
    StepInPlace(method, 1, {0.5, 0.125}, {0.03f, 0.04f, 0, 0, 0, 0, 0, 0}, parameters);
    const double scale = match ? 0.2 * 2 : std::sqrt(2.0);
    const double kept = 1 - 0.5 * 0.125;
    EXPECT_NEAR(parameters[0], kept - 0.5 * scale * 0.6 * PolynomialOfOne(), 2e-5);
    EXPECT_NEAR(parameters[1], kept - 0.5 * scale * 0.8 * PolynomialOfOne(), 2e-5);
    for (size_t i = 2; i < 8; ++i) EXPECT_NEAR(parameters[i], kept, 2e-5);
  }
}

TEST(MuonTest, DividesByTheNormOrByEpsilonWhicheverIsLarger) {
  // From torch.optim.Muon: X = u / max(||u||, epsilon). Beside a norm above epsilon, the length of
  // u is nothing to the step; below it, X gets shorter as u does.
  const auto step_of = [](double epsilon, float norm) {
    Muon method({.beta = 0, .newton_schulz_steps = 1, .match_rms_adamw = false, .epsilon = epsilon},
                SpaceWith({{1, 2}}));
    std::vector<float> parameters = {0, 0};
    StepInPlace(method, 1, 1, {0.6f * norm, 0.8f * norm}, parameters);
    return -std::hypot(parameters[0], parameters[1]);
  };
  const auto polynomial = [](double s) {
    return 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
  };
  for (const float norm : {1e-30f, 2e-8f, 1e-7f, 1e-6f, 1.0f, 1e30f}) {
    for (const double epsilon : {1e-300, 1e-38, 1e-7, 1e-3, 2.0}) {
      const double s = norm / std::max(double{norm}, epsilon);
      EXPECT_NEAR(-step_of(epsilon, norm), polynomial(s), 1e-5 * s) << norm << " " << epsilon;
    }
    EXPECT_EQ(step_of(1e-7, norm), step_of(MuonConfig().epsilon, norm));
  }
}

TEST(MuonTest, NesterovLooksPastTheMomentum) {
  // The second gradient stands across the first: u is m, or m with more of the newer gradient.
  const auto slope_of = [](bool nesterov) {
    Muon method({.beta = 0.5, .nesterov = nesterov}, SpaceWith({{1, 2}}));
    std::vector<float> parameters = {0, 0};
    StepInPlace(method, 1, 0, {1, 0}, parameters);
    StepInPlace(method, 2, 1, {0, 1}, parameters);
    return parameters[1] / parameters[0];
  };
  EXPECT_THAT(slope_of(false), FloatNear(2, 1e-5f));  // m = (1/4, 1/2)
  EXPECT_THAT(slope_of(true), FloatNear(6, 1e-5f));   // u = (1/8, 3/4)
}

TEST(MuonTest, VectorsAndMarkedTensorsTakeAdamW) {
  const ParameterSpace space =
      SpaceWith({{5000}, {40, 50}, {}, {30, 20}}, {0, 0, 0, MuonPlan::kFallback});
  Muon muon({.fallback_beta1 = 0.8, .fallback_beta2 = 0.9, .fallback_epsilon = 1e-3}, space);
  Adam adam({.beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3}, space);
  std::vector<float> by_muon = Noise(space.num_elements(), 1);
  std::vector<float> by_adam = by_muon;
  for (uint64_t step = 1; step <= 3; ++step) {
    const std::vector<float> gradient = Noise(space.num_elements(), 1 + step);
    StepInPlace(muon, step, {0.01, 0.1}, gradient, by_muon);
    StepInPlace(adam, step, {0.01, 0.1}, gradient, by_adam);
  }
  for (size_t i = 0; i < by_muon.size(); ++i) {
    const bool is_matrix = i >= 5000 && i < 7000;
    ASSERT_EQ(by_muon[i] == by_adam[i], !is_matrix) << i;
  }
}

TEST(MuonTest, FlattensWhatFollowsTheFirstDimension) {
  Muon flat({}, SpaceWith({{8, 36}}));
  Muon deep({}, SpaceWith({{8, 4, 3, 3}}));
  std::vector<float> by_flat = Noise(288, 1);
  std::vector<float> by_deep = by_flat;
  StepInPlace(flat, 1, 0.1, Noise(288, 2), by_flat);
  StepInPlace(deep, 1, 0.1, Noise(288, 2), by_deep);
  EXPECT_EQ(by_flat, by_deep);
}

TEST(MuonTest, MatrixWithoutRatesIsLeftAloneAndOneWithoutAGradientOnlyDecays) {
  const ParameterSpace space = SpaceWith({{2, 2}, {2, 2}});
  Muon method({}, space);
  const std::vector<float> from = Noise(8, 1);
  std::vector<float> to = from;  // a frozen tensor's next version is there already
  const StepRates rates{0.5, 0.5};
  method.BeginStep(1);
  method.Apply(rates, {0, 4}, std::vector<float>(4, 0), from, absl::MakeSpan(to));
  method.EndPass(0);
  for (size_t task = 0; task < method.NumTasks(0); ++task) {
    method.RunTask(
        0, task, [&](size_t tensor) { return tensor == 0 ? &rates : nullptr; }, from,
        absl::MakeSpan(to));
  }
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(to[i], 0.75f * from[i]);
  for (size_t i = 4; i < 8; ++i) EXPECT_EQ(to[i], from[i]);
}

TEST(MuonTest, BiasCorrectionOfTheFallbackStaysRightWhereBetasChange) {
  // As in AdamTest: every step of the vector is the rate.
  Muon method({}, SpaceWith({{1}}));
  std::vector<float> parameters = {0};
  StepInPlace(method, 1, 0.5, {2}, parameters);
  method.Configure(ConfigOf<MuonConfig>({.fallback_beta1 = 0.2, .fallback_beta2 = 0.5}));
  StepInPlace(method, 2, 0.5, {2}, parameters);
  method.Configure(ConfigOf<MuonConfig>({.fallback_beta1 = 0.99, .fallback_beta2 = 0.9999}));
  StepInPlace(method, 3, 0.5, {2}, parameters);
  EXPECT_THAT(parameters, ElementsAre(FloatNear(-1.5f, 1e-6f)));
}

TEST(MuonTest, NamesItsState) {
  Muon method({.beta = 0.5, .fallback_beta1 = 0.5, .fallback_beta2 = 0.75},
              SpaceWith({{1, 2}, {1}}));
  std::vector<float> parameters = {1, 1, 1};
  StepInPlace(method, 1, 1, {2, 2, 2}, parameters);
  StepInPlace(method, 2, 1, {2, 2, 2}, parameters);
  const NamedState state = StateOf(method);
  EXPECT_THAT(state.slots,
              ElementsAre(Pair("m", Each(FloatEq(1.5f))), Pair("v", ElementsAre(1.75f))));
  EXPECT_THAT(state.scalars, ElementsAre(Pair("fallback_beta1_product", 0.25),
                                         Pair("fallback_beta2_product", 0.5625)));
}

TEST(MuonPlanTest, CountsEveryByteThatAStepNeeds) {
  // m: 12 + 8 + 3 + 4; v: 3 + 4; a lane each for [3, 4] and [4, 2]: 12 + 2 * 9 and 8 + 2 * 4.
  const ParameterSpace space =
      SpaceWith({{3, 2, 2}, {4, 2}, {3}, {2, 2}}, {0, 0, 0, MuonPlan::kFallback});
  EXPECT_EQ(Muon::StateBytes({}, space), 4u * (27 + 7 + 30 + 16));
  const Muon method({}, space);
  EXPECT_EQ(method.ScratchBytes(), 4u * (30 + 16));
}

TEST(MuonPlanTest, CostliestGoFirstToTheLaneWithLeastToDo) {
  // Nine matrices on eight lanes: the ninth, the cheapest, joins the eighth.
  std::vector<std::vector<uint64_t>> shapes;
  for (uint64_t side = 2; side <= 10; ++side) shapes.push_back({side, side});
  const MuonPlan plan(SpaceWith(std::move(shapes)));
  ASSERT_EQ(plan.lanes.size(), 8u);
  uint64_t next_free = 0;
  for (size_t lane = 0; lane < 8; ++lane) {
    EXPECT_EQ(plan.lanes[lane].matrices[0].rows, 10 - lane);
    EXPECT_EQ(plan.lanes[lane].matrices.size(), lane == 7 ? 2u : 1u);
    EXPECT_EQ(plan.lanes[lane].scratch_begin, next_free);
    next_free += 3 * (10 - lane) * (10 - lane);
  }
  EXPECT_EQ(plan.scratch_size, next_free);
  EXPECT_TRUE(MuonPlan(SpaceWith({{7}})).lanes.empty());
}

TEST(MuonPlanTest, SideBeyondBlasTakesTheFallback) {
  const uint64_t longest = (uint64_t{1} << 31) - 1;
  EXPECT_EQ(MuonPlan(SpaceWith({{2, longest}})).num_fallback_elements, 0u);
  EXPECT_EQ(MuonPlan(SpaceWith({{2, longest + 1}})).num_fallback_elements, 2 * (longest + 1));
  EXPECT_EQ(MuonPlan(SpaceWith({{longest + 1, 2}})).num_fallback_elements, 2 * (longest + 1));
}

}  // namespace
}  // namespace talweg::core
