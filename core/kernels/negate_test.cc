// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/negate.h"

#include <limits>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(NegateTest, EveryTargetTurnsTheSignBitAndNothingElse) {
  for (const size_t size : KernelSizes()) {
    std::vector<float> x = AwkwardFloats(size, 1);
    for (size_t i = 0; i < size; ++i) {
      if (i % 17 == 3) x[i] = std::numeric_limits<float>::infinity();
      if (i % 17 == 5) x[i] = std::numeric_limits<float>::quiet_NaN();
    }
    std::vector<float> expected(size);
    for (size_t i = 0; i < size; ++i) {
      uint32_t bits;
      std::memcpy(&bits, &x[i], sizeof(bits));
      bits ^= 0x80000000;
      std::memcpy(&expected[i], &bits, sizeof(bits));
    }
    ForEachTarget([&] {
      for (const size_t offset : {0, 1}) {
        OffsetVector got(x, offset);
        Negate(got.span());
        ExpectSameBits(expected, got.span());
        Negate(got.span());
        ExpectSameBits(x, got.span());
      }
    });
  }
}

}  // namespace
}  // namespace talweg::core
