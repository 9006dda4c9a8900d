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

}  // namespace
}  // namespace talweg::core
