// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/squared_norm.h"

#include <cmath>
#include <limits>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargest = std::numeric_limits<float>::max();

// The order of squared_norm.h, spelled out.
double InThatOrder(const std::vector<double>& x) {
  double lanes[16] = {};
  for (size_t i = 0; i < x.size(); ++i) lanes[i % 16] += x[i] * x[i];
  double eight[8], four[4];
  for (size_t i = 0; i < 8; ++i) eight[i] = lanes[i] + lanes[i + 8];
  for (size_t i = 0; i < 4; ++i) four[i] = eight[i] + eight[i + 4];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

TEST(SquaredNormTest, EveryTargetAddsInTheFixedOrder) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> x = AwkwardFloats(size, 1);
    const double expected = InThatOrder({x.begin(), x.end()});
    ForEachTarget([&] {
      EXPECT_EQ(SquaredNorm(x), expected) << size;
      OffsetVector apart(x, 1);
      EXPECT_EQ(SquaredNorm(apart.span()), expected) << size;
    });
  }
}

TEST(SquaredNormTest, TheOrderMatters) {
  // Or the test above could not tell one order from another.
  const std::vector<float> x = AwkwardFloats(4096, 1);
  double in_sequence = 0;
  for (const float value : x) in_sequence += static_cast<double>(value) * value;
  EXPECT_NE(SquaredNorm(x), in_sequence);
  EXPECT_NEAR(SquaredNorm(x), in_sequence, 1e-12 * in_sequence);
}

TEST(SquaredNormTest, OneNonFiniteElementAnywhereMakesTheResultNonFinite) {
  for (const size_t size : {1, 15, 16, 17, 64, 67}) {
    std::vector<float> x(size, 1);
    ForEachTarget([&] {
      for (size_t i = 0; i < size; ++i) {
        for (const float bad : {kInfinity, -kInfinity, kNaN, -kNaN}) {
          x[i] = bad;
          EXPECT_FALSE(std::isfinite(SquaredNorm(x))) << bad << " at " << i << " of " << size;
          x[i] = 1;
        }
      }
    });
  }
}

TEST(SquaredNormTest, FiniteElementsNeverMakeItNonFinite) {
  const std::vector<float> x(100003, kLargest);
  const std::vector<float> opposite(100003, -kLargest);
  ForEachTarget([&] {
    EXPECT_TRUE(std::isfinite(SquaredNorm(x)));
    EXPECT_TRUE(std::isfinite(SquaredDistance(x, opposite)));
  });
}

TEST(SquaredDistanceTest, EveryTargetAddsInTheFixedOrder) {
  for (const size_t size : KernelSizes()) {
    const std::vector<float> a = AwkwardFloats(size, 1);
    const std::vector<float> b = AwkwardFloats(size, 2);
    std::vector<double> differences(size);
    for (size_t i = 0; i < size; ++i) differences[i] = static_cast<double>(a[i]) - b[i];
    const double expected = InThatOrder(differences);
    ForEachTarget([&] { EXPECT_EQ(SquaredDistance(a, b), expected) << size; });
  }
}

TEST(SquaredDistanceTest, OneNonFiniteElementAnywhereMakesTheResultNonFinite) {
  std::vector<float> a(67, 1), b(67, 1);
  ForEachTarget([&] {
    for (size_t i = 0; i < a.size(); ++i) {
      for (const float bad : {kInfinity, -kInfinity, kNaN}) {
        a[i] = bad;
        EXPECT_FALSE(std::isfinite(SquaredDistance(a, b)));
        b[i] = bad;
        EXPECT_FALSE(std::isfinite(SquaredDistance(a, b)));
        a[i] = b[i] = 1;
      }
    }
  });
}

}  // namespace
}  // namespace talweg::core
