// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/prepare_gradient.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(PrepareGradientTest, EveryTargetGivesTheScalarLoopsBits) {
  const GradientPreparation kinds[] = {
      {.factor = 0.37f},
      {.max_value = 0.125f},
      {.decay = 0.01f},
      {.factor = 0.37f, .max_value = 0.125f, .decay = 0.01f},
      {.factor = 0, .max_value = 0, .decay = 3},
  };
  for (const GradientPreparation& c : kinds) {
    for (const size_t size : KernelSizes()) {
      const std::vector<float> gradient = AwkwardFloats(size, 1);
      const std::vector<float> w = AwkwardFloats(size, 2);
      std::vector<float> expected(size);
      for (size_t i = 0; i < size; ++i) {
        const float scaled = c.factor * gradient[i];
        expected[i] = std::clamp(scaled, -c.max_value, c.max_value);
        if (c.decay != 0) expected[i] += c.decay * w[i];
      }
      ForEachTarget([&] {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          PrepareGradient(c, gradient, w, to.span());
          // Clipping to zero may give either zero.
          if (c.max_value > 0) ExpectSameBits(expected, to.span());
          for (size_t i = 0; i < size; ++i) ASSERT_EQ(to.span()[i], expected[i]) << i;
        }
        std::vector<float> in_place = gradient;
        PrepareGradient(c, in_place, w, absl::MakeSpan(in_place));
        for (size_t i = 0; i < size; ++i) ASSERT_EQ(in_place[i], expected[i]) << i;
      });
    }
  }
}

TEST(PrepareGradientTest, WithoutDecayParametersAreNotLookedAt) {
  const std::vector<float> gradient(37, 4.0f);
  const std::vector<float> w(37, HUGE_VALF);
  ForEachTarget([&] {
    std::vector<float> to(37);
    PrepareGradient({.factor = 0.5f, .max_value = 1.5f}, gradient, w, absl::MakeSpan(to));
    EXPECT_EQ(to, std::vector<float>(37, 1.5f));
  });
}

TEST(PrepareGradientTest, NothingToDoIsSeen) {
  EXPECT_TRUE(GradientPreparation{}.IsIdentity());
  EXPECT_FALSE(GradientPreparation{.factor = 0.5f}.IsIdentity());
  EXPECT_FALSE(GradientPreparation{.max_value = 1e30f}.IsIdentity());
  EXPECT_FALSE(GradientPreparation{.decay = 1e-30f}.IsIdentity());
}

}  // namespace
}  // namespace talweg::core
