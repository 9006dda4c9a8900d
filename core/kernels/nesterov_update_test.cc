// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/nesterov_update.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(NesterovUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  constexpr NesterovCoefficients kStep = {0.9f, 0.1f, 0.8f, 1.3f, -0.037f, 0.97f};
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const std::vector<float> from = AwkwardFloats(size, 2);
    std::vector<float> m = AwkwardFloats(size, 3);
    std::vector<float> expected(size);
    std::vector<float> expected_m(size);
    for (size_t i = 0; i < size; ++i) {
      expected_m[i] = kStep.keep_m * m[i] + kStep.take * gradient[i];
      const float step = kStep.step_m * expected_m[i] + kStep.step_g * gradient[i];
      expected[i] = kStep.keep * from[i] + kStep.move * step;
    }
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          std::vector<float> got_m = m;
          NesterovUpdate(kStep, stores, gradient, from, to.span(), absl::MakeSpan(got_m));
          ExpectSameBits(expected, to.span());
          ExpectSameBits(expected_m, got_m);
        }
      }
      std::vector<float> in_place = from;
      std::vector<float> got_m = m;
      NesterovUpdate(kStep, Stores::kCached, gradient, in_place, absl::MakeSpan(in_place),
                     absl::MakeSpan(got_m));
      ExpectSameBits(expected, in_place);
      ExpectSameBits(expected_m, got_m);
    });
  }
}

}  // namespace
}  // namespace talweg::core
