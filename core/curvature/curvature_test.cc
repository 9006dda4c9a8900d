// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/curvature.h"

#include <vector>

#include "gmock/gmock.h"

namespace talweg::core {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

// One layer of a single input and a single output, so that factors are numbers.
std::vector<KroneckerLayer> OneByOne() {
  KroneckerLayer layer;
  layer.inputs = layer.outputs = 1;
  return {layer};
}

CurvatureSettings Plain(double kept) {
  return {.lambda = 4, .pi = PiRule::kOff, .kept = kept, .refresh = RefreshMode::kSynchronous};
}

void Average(Curvature& curvature, uint64_t number, const CurvatureSettings& settings,
             std::vector<float> statistics) {
  curvature.BeginStep(number, settings);
  curvature.BeginAverage();
  curvature.AverageShard({0, statistics.size()}, statistics);
}

float InverseOf(Curvature& curvature, size_t factor, double coupled = 0) {
  const auto refresh = curvature.BeginRefresh(std::vector<double>{coupled});
  refresh->RunHere();
  curvature.Install(*refresh);
  return curvature.Inverse(0, factor)[0];
}

TEST(CurvatureTest, AveragesForgetThatTheyStartedFromZero) {
  Curvature curvature(OneByOne());
  Average(curvature, 1, Plain(0.9), {8, 3});
  EXPECT_THAT(InverseOf(curvature, 0), FloatEq(1.0f / (8 + 2)));
  EXPECT_THAT(InverseOf(curvature, 1), FloatEq(1.0f / (3 + 2)));
  Average(curvature, 2, Plain(0.9), {2, 3});
  // (0.9 * 0.1 * 8 + 0.1 * 2) / (1 - 0.81)
  EXPECT_NEAR(InverseOf(curvature, 0), 1 / (0.92 / 0.19 + 2), 1e-6);
}

TEST(CurvatureTest, FirstAverageMayCountWhole) {
  CurvatureSettings settings = Plain(0.9);
  settings.starts_with_first = true;
  Curvature curvature(OneByOne());
  Average(curvature, 1, settings, {8, 3});
  EXPECT_THAT(InverseOf(curvature, 0), FloatEq(1.0f / (8 + 2)));
  Average(curvature, 2, settings, {2, 3});
  EXPECT_NEAR(InverseOf(curvature, 0), 1 / (0.9 * 8 + 0.1 * 2 + 2), 1e-6);
}

TEST(CurvatureTest, CoupledDecayIsPartOfTheDamping) {
  Curvature curvature(OneByOne());
  Average(curvature, 1, Plain(0.9), {8, 3});
  EXPECT_THAT(InverseOf(curvature, 0, /*coupled=*/5), FloatEq(1.0f / (8 + 3)));
}

TEST(CurvatureTest, ALayerKeepsBothInversesIfOneFails) {
  Curvature curvature(OneByOne());
  Average(curvature, 1, Plain(0), {8, 3});
  EXPECT_THAT(InverseOf(curvature, 0), FloatEq(1.0f / 10));
  CurvatureSettings undamped = Plain(0);
  undamped.lambda = 0;
  Average(curvature, 2, undamped, {20, 0});
  EXPECT_THAT(InverseOf(curvature, 0), FloatEq(1.0f / 10));
  EXPECT_THAT(InverseOf(curvature, 1), FloatEq(1.0f / 5));
  EXPECT_EQ(curvature.InverseVersion(), 1u);
  EXPECT_EQ(curvature.num_failed(), 2u);  // both calls of InverseOf tried
}

TEST(CurvatureTest, RefreshesWhenTheSettingsSay) {
  CurvatureSettings settings = Plain(0.5);
  settings.refresh_every = 4;
  settings.refresh_each_until = 3;
  Curvature curvature(OneByOne());
  std::vector<uint64_t> refreshed;
  for (uint64_t number = 1; number <= 14; ++number) {
    Average(curvature, number, settings, {1, 1});
    if (!curvature.NeedsRefresh()) continue;
    InverseOf(curvature, 0);
    refreshed.push_back(number);
  }
  EXPECT_THAT(refreshed, ElementsAre(1, 2, 3, 7, 11));
  // Without new statistics there is nothing to refresh.
  curvature.BeginStep(30, settings);
  EXPECT_TRUE(curvature.NeedsRefresh());  // those of 12 to 14
  InverseOf(curvature, 0);
  curvature.BeginStep(60, settings);
  EXPECT_FALSE(curvature.NeedsRefresh());
}

TEST(CurvatureTest, FirstStepsRefreshWithinThemselvesInTheBackgroundToo) {
  CurvatureSettings settings = Plain(0.5);
  settings.refresh = RefreshMode::kBackground;
  settings.refresh_every = 1;
  settings.refresh_each_until = 3;
  Curvature curvature(OneByOne());
  for (uint64_t number = 1; number <= 6; ++number) {
    Average(curvature, number, settings, {1, 1});
    EXPECT_EQ(curvature.NeedsRefresh(), number <= 3) << number;
    if (curvature.NeedsRefresh()) InverseOf(curvature, 0);
    EXPECT_EQ(curvature.WantsRefresh(), number > 3) << number;
  }
}

TEST(CurvatureTest, CountsItsBytes) {
  KroneckerLayer layer;
  layer.inputs = 3;
  layer.outputs = 2;
  layer.bias = 1;
  EXPECT_EQ(Curvature(OneByOne()).num_statistics(), 2u);
  EXPECT_EQ(Curvature({layer}).num_statistics(), 10u + 3u);
  EXPECT_EQ(Curvature::StateBytes({layer}), 4u * (10 + 3 + 16 + 4));
}

}  // namespace
}  // namespace talweg::core
