// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/momentum_update.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(MomentumUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  constexpr MomentumCoefficients kStep = {0.9f, 0.1f, -0.037f, 0.97f};
  for (const size_t size : KernelSizes()) {
    const std::vector<float> gradient = AwkwardFloats(size, 1);
    const std::vector<float> from = AwkwardFloats(size, 2);
    const std::vector<float> m = AwkwardFloats(size, 3);
    std::vector<float> expected(size);
    std::vector<float> expected_m(size);
    for (size_t i = 0; i < size; ++i) {
      expected_m[i] = kStep.keep_m * m[i] + kStep.take * gradient[i];
      expected[i] = kStep.keep * from[i] + kStep.move * expected_m[i];
    }
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          std::vector<float> got_m = m;
          MomentumUpdate(kStep, stores, gradient, from, to.span(), absl::MakeSpan(got_m));
          ExpectSameBits(expected, to.span());
          ExpectSameBits(expected_m, got_m);
        }
      }
      std::vector<float> in_place = from;
      std::vector<float> got_m = m;
      MomentumUpdate(kStep, Stores::kCached, gradient, in_place, absl::MakeSpan(in_place),
                     absl::MakeSpan(got_m));
      ExpectSameBits(expected, in_place);
    });
  }
}

TEST(MomentumUpdateTest, KeepingAllIsTheStepWithoutDecay) {
  const std::vector<float> gradient = AwkwardFloats(1000, 1);
  std::vector<float> from = AwkwardFloats(1000, 2);
  from[0] = -0.0f;
  const std::vector<float> m = AwkwardFloats(1000, 3);
  std::vector<float> expected(1000);
  for (size_t i = 0; i < 1000; ++i) {
    expected[i] = from[i] + -0.037f * (0.9f * m[i] + 0.1f * gradient[i]);
  }
  ForEachTarget([&] {
    std::vector<float> to(1000);
    std::vector<float> got_m = m;
    MomentumUpdate({0.9f, 0.1f, -0.037f}, Stores::kCached, gradient, from, absl::MakeSpan(to),
                   absl::MakeSpan(got_m));
    ExpectSameBits(expected, to);
  });
}

}  // namespace
}  // namespace talweg::core
