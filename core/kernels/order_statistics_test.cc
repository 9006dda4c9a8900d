// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/order_statistics.h"

#include <algorithm>
#include <limits>
#include <random>

#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

using Vectors = std::vector<std::vector<float>>;

// Some of which agree here and there, or differ in the sign of a zero.
Vectors VectorsOf(size_t count, size_t size) {
  Vectors vectors(count);
  for (size_t k = 0; k < count; ++k) {
    vectors[k] = AwkwardFloats(size, k + 1);
    for (size_t i = 0; i < size; ++i) {
      if (i % 5 == 1) vectors[k][i] = static_cast<float>((k * 7 + i) % 3);
      if (i % 5 == 2) vectors[k][i] = (k + i) % 2 == 0 ? 0.0f : -0.0f;
    }
  }
  return vectors;
}

std::vector<const float*> Pointers(const Vectors& vectors) {
  std::vector<const float*> pointers;
  for (const std::vector<float>& vector : vectors) pointers.push_back(vector.data());
  return pointers;
}

// Sorted values of each element.
Vectors SortedColumns(const Vectors& vectors) {
  Vectors columns(vectors[0].size());
  for (size_t i = 0; i < columns.size(); ++i) {
    for (const std::vector<float>& vector : vectors) columns[i].push_back(vector[i]);
    std::sort(columns[i].begin(), columns[i].end(), [](float a, float b) {
      return a != b ? a < b : std::signbit(a) && !std::signbit(b);
    });
  }
  return columns;
}

std::vector<float> ScalarTrimmedMean(const Vectors& columns, size_t trim) {
  std::vector<float> mean;
  for (const std::vector<float>& column : columns) {
    double sum = static_cast<double>(column[trim]);
    for (size_t k = trim + 1; k < column.size() - trim; ++k) {
      sum += static_cast<double>(column[k]);
    }
    mean.push_back(static_cast<float>(sum / static_cast<double>(column.size() - 2 * trim)));
  }
  return mean;
}

std::vector<float> ScalarMedian(const Vectors& columns) {
  std::vector<float> median;
  for (const std::vector<float>& column : columns) {
    const size_t half = column.size() / 2;
    median.push_back(
        column.size() % 2 == 1
            ? column[half]
            : static_cast<float>(
                  (static_cast<double>(column[half]) + static_cast<double>(column[half - 1])) / 2));
  }
  return median;
}

void ExpectAllOrderStatistics(const Vectors& vectors, const std::vector<size_t>& trims) {
  const Vectors columns = SortedColumns(vectors);
  const std::vector<float> median = ScalarMedian(columns);
  for (const size_t trim : trims) {
    const std::vector<float> expected = ScalarTrimmedMean(columns, trim);
    ForEachTarget([&] {
      OffsetVector mean(std::vector<float>(expected.size()), trim % 2);
      TrimmedMean(Pointers(vectors), trim, mean.span());
      ExpectSameBits(expected, mean.span());
    });
  }
  ForEachTarget([&] {
    std::vector<float> got(median.size());
    Median(Pointers(vectors), absl::MakeSpan(got));
    ExpectSameBits(median, got);
  });
}

TEST(OrderStatisticsTest, EveryTargetGivesTheBitsOfASortAtEverySize) {
  for (const size_t size : KernelSizes()) {
    for (const size_t count : {1, 4, 7}) {
      SCOPED_TRACE(count);
      ExpectAllOrderStatistics(VectorsOf(count, size), {0, (count - 1) / 2});
    }
  }
}

TEST(OrderStatisticsTest, EveryTargetGivesTheBitsOfASortOfAnyNumberOfVectors) {
  for (size_t count = 1; count <= 70; ++count) {
    SCOPED_TRACE(count);
    std::vector<size_t> trims;
    for (size_t trim = 0; 2 * trim < count; ++trim) trims.push_back(trim);
    ExpectAllOrderStatistics(VectorsOf(count, 67), trims);
  }
  for (const size_t count : {127, 128, 1000, 4096}) {
    SCOPED_TRACE(count);
    ExpectAllOrderStatistics(VectorsOf(count, 67), {0, count / 10, (count - 1) / 2});
  }
}

TEST(OrderStatisticsTest, SortsAllZerosAndOnes) {
  // What sorts every sequence of zeros and ones sorts everything. One a column, all at once.
  for (const size_t count : {2, 3, 5, 8, 11, 13}) {
    Vectors vectors(count, std::vector<float>(size_t{1} << count));
    for (size_t i = 0; i < size_t{1} << count; ++i) {
      for (size_t k = 0; k < count; ++k) vectors[k][i] = (i >> k & 1) != 0 ? 1 : -1;
    }
    ExpectAllOrderStatistics(vectors, {0, 1 % ((count + 1) / 2), (count - 1) / 2});
  }
}

TEST(OrderStatisticsTest, TheOrderOfTheVectorsDoesNotMatter) {
  Vectors vectors = VectorsOf(9, 500);
  std::vector<float> expected(500), expected_median(500);
  TrimmedMean(Pointers(vectors), 2, absl::MakeSpan(expected));
  Median(Pointers(vectors), absl::MakeSpan(expected_median));
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(vectors.begin(), vectors.end(), random);
    std::vector<float> got(500);
    TrimmedMean(Pointers(vectors), 2, absl::MakeSpan(got));
    ExpectSameBits(expected, got);
    Median(Pointers(vectors), absl::MakeSpan(got));
    ExpectSameBits(expected_median, got);
  }
}

TEST(OrderStatisticsTest, WhatIsTrimmedDoesNotCount) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Vectors vectors = {{1, -1}, {2, -2}, {6, -6}, {kInfinity, -kInfinity}, {-3e38f, 3e38f}};
  std::vector<float> mean(2);
  TrimmedMean(Pointers(vectors), 1, absl::MakeSpan(mean));
  EXPECT_EQ(mean, (std::vector<float>{3, -3}));
  Median(Pointers(vectors), absl::MakeSpan(mean));
  EXPECT_EQ(mean, (std::vector<float>{2, -2}));
}

TEST(OrderStatisticsTest, MiddleOfTheLargestIsFinite) {
  const std::vector<float> largest(67, std::numeric_limits<float>::max());
  const std::vector<const float*> vectors(6, largest.data());
  ForEachTarget([&] {
    std::vector<float> mean(67);
    Median(vectors, absl::MakeSpan(mean));
    ExpectSameBits(largest, mean);
    TrimmedMean(vectors, 0, absl::MakeSpan(mean));
    ExpectSameBits(largest, mean);
  });
}

}  // namespace
}  // namespace talweg::core
