// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/accumulate.h"

#include <limits>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

TEST(AccumulateTest, MeanIsTheSumInDoubleRoundedOnce) {
  for (const size_t size : KernelSizes()) {
    for (const uint32_t count : {2u, 3u, 7u}) {
      std::vector<double> sums(size);
      std::vector<double> expected(size);
      for (uint32_t part = 1; part < count; ++part) {
        const std::vector<float> x = AwkwardFloats(size, part);
        for (size_t i = 0; i < size; ++i) expected[i] += static_cast<double>(x[i]);
        AddTo(x, absl::MakeSpan(sums));
      }
      ASSERT_EQ(sums, expected);
      std::vector<float> x = AwkwardFloats(size, count);
      std::vector<float> mean(size);
      for (size_t i = 0; i < size; ++i) {
        mean[i] = static_cast<float>((expected[i] + static_cast<double>(x[i])) / count);
      }
      TakeMean(count, absl::MakeSpan(sums), absl::MakeSpan(x));
      ExpectSameBits(mean, x);
      EXPECT_EQ(sums, std::vector<double>(size));  // ready for the next round
    }
  }
}

TEST(AccumulateTest, MeanOfTheLargestIsFinite) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr uint32_t kCount = 65536;
  std::vector<double> sums(2);
  std::vector<float> x = {kLargest, -kLargest};
  for (uint32_t part = 1; part < kCount; ++part) AddTo(x, absl::MakeSpan(sums));
  TakeMean(kCount, absl::MakeSpan(sums), absl::MakeSpan(x));
  EXPECT_EQ(x, (std::vector<float>{kLargest, -kLargest}));
}

TEST(AccumulateTest, SmallTermsAreNotLostBesideALargeOne) {
  std::vector<double> sums(1);
  AddTo(std::vector<float>{1e8f}, absl::MakeSpan(sums));
  for (int part = 0; part < 100; ++part) AddTo(std::vector<float>{1.0f}, absl::MakeSpan(sums));
  std::vector<float> x = {-1e8f};
  TakeMean(102, absl::MakeSpan(sums), absl::MakeSpan(x));
  EXPECT_EQ(x[0], static_cast<float>(100.0 / 102));
}

}  // namespace
}  // namespace talweg::core
