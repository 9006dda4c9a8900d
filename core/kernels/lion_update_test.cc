// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/lion_update.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(LionUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  constexpr LionCoefficients kStep = {0.5f, 0.5f, 0.9f, 0.1f, 0.037f, 0.97f};
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const std::vector<float> from = AwkwardFloats(size, 2);
    std::vector<float> m = AwkwardFloats(size, 3);
    for (size_t i = 0; i < size; i += 5) {
      m[i] = -gradient[i];  // a direction of exactly 0, from either side
    }
    std::vector<float> expected(size);
    std::vector<float> expected_m(size);
    for (size_t i = 0; i < size; ++i) {
      const float blend = kStep.blend_m * m[i] + kStep.blend_g * gradient[i];
      const float step = blend > 0 ? kStep.rate : blend < 0 ? -kStep.rate : 0;
      expected_m[i] = kStep.keep_m * m[i] + kStep.take_m * gradient[i];
      expected[i] = kStep.keep * from[i] - step;
    }
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          std::vector<float> got_m = m;
          LionUpdate(kStep, stores, gradient, from, to.span(), absl::MakeSpan(got_m));
          ExpectSameBits(expected, to.span());
          ExpectSameBits(expected_m, got_m);
        }
      }
      std::vector<float> in_place = from;
      std::vector<float> got_m = m;
      LionUpdate(kStep, Stores::kCached, gradient, in_place, absl::MakeSpan(in_place),
                 absl::MakeSpan(got_m));
      ExpectSameBits(expected, in_place);
      ExpectSameBits(expected_m, got_m);
    });
  }
}

}  // namespace
}  // namespace talweg::core
