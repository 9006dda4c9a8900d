// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/average_update.h"

#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(AverageUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const float take : {0.1f, 1e-6f, 1.0f}) {
    for (const size_t size : KernelSizes()) {
      const std::vector<float> w = AwkwardFloats(size, 1);
      const std::vector<float> average = AwkwardFloats(size, 2);
      const std::vector<float> low = AwkwardFloats(size, 3);
      std::vector<float> expected(size);
      std::vector<float> expected_low(size);
      for (size_t i = 0; i < size; ++i) {
        const float step = low[i] + take * (w[i] - average[i] - low[i]);
        expected[i] = average[i] + step;
        const float step_there = expected[i] - average[i];
        expected_low[i] = (average[i] - (expected[i] - step_there)) + (step - step_there);
      }
      ForEachTarget([&] {
        for (const size_t offset : {0, 1}) {
          OffsetVector got(average, offset);
          OffsetVector got_low(low, offset);
          AverageUpdate(take, w, got.span(), got_low.span());
          ExpectSameBits(expected, got.span());
          ExpectSameBits(expected_low, got_low.span());
        }
      });
    }
  }
}

TEST(AverageUpdateTest, AverageOfAConstantIsTheConstant) {
  // With a share that is kept and another that is taken, each rounded, it would lose a hundredth.
  const std::vector<float> w = {1.0f, -3.7f, 1e-30f, 0.0f};
  std::vector<float> average = w;
  std::vector<float> low(4);
  for (int step = 0; step < 100000; ++step) {
    AverageUpdate(1e-6f, w, absl::MakeSpan(average), absl::MakeSpan(low));
  }
  ExpectSameBits(w, average);
}

TEST(AverageUpdateTest, SlowAverageTakesEveryPartOfTheDistance) {
  // Whichever is the larger, and on the way up or down: in float64 by the closed form, within a
  // millionth of the distance.
  struct Way {
    float from, to;
  };
  constexpr Way kWays[] = {{1, 1.005f}, {0, 1},        {1, 0.25f},
                           {-3, 1e-3f}, {1e-3f, 1000}, {1, 1.0001f}};
  for (const float take : {1e-3f, 1e-5f, 1e-6f, 1e-7f}) {
    for (const auto [from, to] : kWays) {
      std::vector<float> average = {from};
      std::vector<float> low = {0};
      for (int step = 1; step <= 3001; ++step) {
        AverageUpdate(take, {to}, absl::MakeSpan(average), absl::MakeSpan(low));
      }
      const double distance = double{to} - from;
      const double expected = to - distance * std::exp(3001 * std::log1p(-double{take}));
      EXPECT_NEAR(double{average[0]} + low[0], expected, 1e-6 * std::abs(distance))
          << take << " " << from << " " << to;
      EXPECT_EQ(average[0], static_cast<float>(double{average[0]} + low[0]));
    }
  }
}

TEST(AverageUpdateTest, SlowAverageArrivesAtAConstant) {
  const std::vector<float> w = {1.0f, 0.25f};
  std::vector<float> average = {0.0f, 1.0f};
  std::vector<float> low(2);
  for (int step = 0; step < 200000; ++step) {
    AverageUpdate(1e-4f, w, absl::MakeSpan(average), absl::MakeSpan(low));
  }
  // 0.9999^200000 = 2e-9 of the way is left.
  EXPECT_EQ(average[0], 1.0f);
  EXPECT_EQ(average[1], 0.25f);
}

}  // namespace
}  // namespace talweg::core
