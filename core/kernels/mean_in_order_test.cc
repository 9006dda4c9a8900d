// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/mean_in_order.h"

#include <limits>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

struct Inputs {
  std::vector<std::vector<float>> vectors;
  std::vector<WeightedVector> contributions;
  double total_weight = 0;

  Inputs(size_t count, size_t size) : vectors(count) {
    for (size_t k = 0; k < count; ++k) {
      vectors[k] = AwkwardFloats(size, k + 1);
      contributions.push_back({vectors[k].data(), static_cast<float>(1.0 / (1.0 + k % 7))});
      total_weight += static_cast<double>(contributions[k].weight);
    }
  }
};

std::vector<float> ScalarLoop(absl::Span<const WeightedVector> contributions, double total_weight,
                              size_t size) {
  std::vector<float> mean(size);
  for (size_t i = 0; i < size; ++i) {
    double sum = 0;
    for (const WeightedVector& x : contributions) {
      sum += static_cast<double>(x.weight) * static_cast<double>(x.values[i]);
    }
    mean[i] = static_cast<float>(sum / total_weight);
  }
  return mean;
}

TEST(MeanInOrderTest, EveryTargetGivesTheScalarLoopsBits) {
  for (const size_t size : KernelSizes()) {
    for (const size_t count : {1, 2, 3, 19}) {
      const Inputs inputs(count, size);
      const std::vector<float> expected =
          ScalarLoop(inputs.contributions, inputs.total_weight, size);
      ForEachTarget([&] {
        for (const size_t offset : {0, 1}) {
          OffsetVector mean(std::vector<float>(size, 7), offset);
          MeanInOrder(inputs.contributions, inputs.total_weight, mean.span());
          ExpectSameBits(expected, mean.span());
        }
      });
    }
  }
}

TEST(MeanInOrderTest, TheOrderIsTheOneGiven) {
  const std::vector<float> one(67, 1), large(67, 0x1p60f), opposite(67, -0x1p60f);
  const auto mean_of = [](const std::vector<const float*>& vectors) {
    std::vector<WeightedVector> contributions;
    for (const float* values : vectors) contributions.push_back({values, 1});
    std::vector<float> mean(67);
    MeanInOrder(contributions, 1, absl::MakeSpan(mean));
    return mean;
  };
  ForEachTarget([&] {
    const std::vector<float> lost(67, 0);
    ExpectSameBits(lost, mean_of({one.data(), large.data(), opposite.data()}));
    ExpectSameBits(lost, mean_of({large.data(), one.data(), opposite.data()}));
    ExpectSameBits(one, mean_of({large.data(), opposite.data(), one.data()}));
  });
}

TEST(MeanInOrderTest, AnyCutGivesTheSameBits) {
  const Inputs inputs(5, 3000);
  const std::vector<float> expected = ScalarLoop(inputs.contributions, inputs.total_weight, 3000);
  for (const size_t cut : {1, 255, 256, 257, 2999}) {
    std::vector<WeightedVector> rest = inputs.contributions;
    for (WeightedVector& x : rest) x.values += cut;
    std::vector<float> mean(3000);
    MeanInOrder(inputs.contributions, inputs.total_weight, absl::MakeSpan(mean).subspan(0, cut));
    MeanInOrder(rest, inputs.total_weight, absl::MakeSpan(mean).subspan(cut));
    ExpectSameBits(expected, mean);
  }
}

TEST(MeanInOrderTest, MeanOfTheLargestIsFinite) {
  const std::vector<float> largest(67, std::numeric_limits<float>::max());
  const std::vector<WeightedVector> contributions(1000, {largest.data(), 0x1p127f});
  ForEachTarget([&] {
    std::vector<float> mean(67);
    MeanInOrder(contributions, 1000 * 0x1p127, absl::MakeSpan(mean));
    ExpectSameBits(largest, mean);
  });
}

}  // namespace
}  // namespace talweg::core
