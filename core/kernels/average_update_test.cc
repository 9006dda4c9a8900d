// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/average_update.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(AverageUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const float take : {0.1f, 1e-6f, 1.0f}) {
    for (const size_t size : KernelSizes()) {
      const std::vector<float> w = AwkwardFloats(size, 1);
      const std::vector<float> average = AwkwardFloats(size, 2);
      std::vector<float> expected(size);
      for (size_t i = 0; i < size; ++i) expected[i] = average[i] + take * (w[i] - average[i]);
      ForEachTarget([&] {
        for (const size_t offset : {0, 1}) {
          OffsetVector got(average, offset);
          AverageUpdate(take, w, got.span());
          ExpectSameBits(expected, got.span());
        }
      });
    }
  }
}

TEST(AverageUpdateTest, AverageOfAConstantIsTheConstant) {
  // With a share that is kept and another that is taken, each rounded, it would lose a hundredth.
  const std::vector<float> w = {1.0f, -3.7f, 1e-30f, 0.0f};
  std::vector<float> average = w;
  for (int step = 0; step < 100000; ++step) AverageUpdate(1e-6f, w, absl::MakeSpan(average));
  ExpectSameBits(w, average);
}

TEST(AverageUpdateTest, SlowAverageArrivesAtAConstant) {
  const std::vector<float> w = {1.0f, 0.25f};
  std::vector<float> average = {0.0f, 1.0f};
  for (int step = 0; step < 200000; ++step) AverageUpdate(1e-4f, w, absl::MakeSpan(average));
  EXPECT_NEAR(average[0], 1.0f, 1e-3);
  EXPECT_NEAR(average[1], 0.25f, 1e-3);
}

}  // namespace
}  // namespace talweg::core
