// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/gradient_descent_update.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(GradientDescentUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  constexpr float kKeep = 0.97f;
  constexpr float kRate = 0.037f;
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const std::vector<float> from = AwkwardFloats(size, 2);
    std::vector<float> expected(size);
    for (size_t i = 0; i < size; ++i) expected[i] = kKeep * from[i] - kRate * gradient[i];
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          GradientDescentUpdate(kKeep, kRate, stores, gradient, from, to.span());
          ExpectSameBits(expected, to.span());
        }
      }
      std::vector<float> in_place = from;
      GradientDescentUpdate(kKeep, kRate, Stores::kCached, gradient, in_place,
                            absl::MakeSpan(in_place));
      ExpectSameBits(expected, in_place);
      std::vector<float> over_gradient = gradient;
      GradientDescentUpdate(kKeep, kRate, Stores::kCached, over_gradient, from,
                            absl::MakeSpan(over_gradient));
      ExpectSameBits(expected, over_gradient);
    });
  }
}

// Sessions without decay step as if there were none: 1 times a number is that number.
TEST(GradientDescentUpdateTest, KeepingAllIsTheStepWithoutDecay) {
  const std::vector<float> gradient = AwkwardFloats(1000, 1);
  std::vector<float> from = AwkwardFloats(1000, 2);
  from[0] = -0.0f;
  from[1] = HUGE_VALF;
  std::vector<float> expected(1000);
  for (size_t i = 0; i < 1000; ++i) expected[i] = from[i] - 0.037f * gradient[i];
  ForEachTarget([&] {
    std::vector<float> to(1000);
    GradientDescentUpdate(1, 0.037f, Stores::kCached, gradient, from, absl::MakeSpan(to));
    ExpectSameBits(expected, to);
  });
}

}  // namespace
}  // namespace talweg::core
