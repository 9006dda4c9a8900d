// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/adagrad_update.h"

#include <cmath>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(AdagradUpdateTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const AdagradCoefficients& step : {AdagradCoefficients{0.037f, 1e-10f, 0, 0.97f},
                                          AdagradCoefficients{0.037f, 0, 1e-10f, 0.97f}}) {
    for (const size_t size : KernelSizes()) {
      const std::vector<float> gradient = AwkwardFloats(size, 1);
      const std::vector<float> from = AwkwardFloats(size, 2);
      std::vector<float> v = AwkwardFloats(size, 3);
      for (float& value : v) value = std::abs(value);
      std::vector<float> expected(size);
      std::vector<float> expected_v(size);
      for (size_t i = 0; i < size; ++i) {
        expected_v[i] = v[i] + gradient[i] * gradient[i];
        expected[i] =
            step.keep * from[i] -
            step.rate * gradient[i] / (std::sqrt(expected_v[i] + step.inside) + step.outside);
      }
      ForEachTarget([&] {
        for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
          for (const size_t offset : {0, 1}) {
            OffsetVector to(std::vector<float>(size), offset);
            std::vector<float> got_v = v;
            AdagradUpdate(step, stores, gradient, from, to.span(), absl::MakeSpan(got_v));
            ExpectSameBits(expected, to.span());
            ExpectSameBits(expected_v, got_v);
          }
        }
        std::vector<float> in_place = from;
        std::vector<float> got_v = v;
        AdagradUpdate(step, Stores::kCached, gradient, in_place, absl::MakeSpan(in_place),
                      absl::MakeSpan(got_v));
        ExpectSameBits(expected, in_place);
        ExpectSameBits(expected_v, got_v);
      });
    }
  }
}

}  // namespace
}  // namespace talweg::core
