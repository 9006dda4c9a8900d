// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/subtract.h"

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(SubtractTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> a = AwkwardFloats(size, 1);
    const std::vector<float> b = AwkwardFloats(size, 2);
    std::vector<float> expected(size);
    for (size_t i = 0; i < size; ++i) expected[i] = a[i] - b[i];
    ForEachTarget([&] {
      for (const Stores stores : {Stores::kCached, Stores::kStreaming}) {
        for (const size_t offset : {0, 1}) {
          OffsetVector to(std::vector<float>(size), offset);
          Subtract(stores, a, b, to.span());
          ExpectSameBits(expected, to.span());
        }
      }
      std::vector<float> in_place = a;
      Subtract(Stores::kCached, in_place, b, absl::MakeSpan(in_place));
      ExpectSameBits(expected, in_place);
    });
  }
}

}  // namespace
}  // namespace talweg::core
