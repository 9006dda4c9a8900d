// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/exact_sum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/kernels/exact_testing.h"
#include "core/kernels/expansion.h"
#include "core/kernels/kernel_testing.h"

namespace talweg::core {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = std::numeric_limits<float>::denorm_min();

using Vectors = std::vector<std::vector<float>>;

// 1, 1/2, 1/3, … in float32: what staleness makes of contributions.
std::vector<float> Weights(size_t count) {
  std::vector<float> weights(count);
  for (size_t i = 0; i < count; ++i) weights[i] = static_cast<float>(1.0 / (1.0 + i));
  return weights;
}

double Total(const std::vector<float>& weights) {
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

std::vector<float> ReferenceMean(const Vectors& vectors, const std::vector<float>& weights,
                                 double total_weight) {
  std::vector<float> mean(vectors[0].size());
  for (size_t at = 0; at < mean.size(); ++at) {
    std::vector<double> terms;
    for (size_t i = 0; i < vectors.size(); ++i) {
      terms.push_back(static_cast<double>(weights[i]) * static_cast<double>(vectors[i][at]));
    }
    mean[at] = static_cast<float>(ReferenceSum(terms) / total_weight);
  }
  return mean;
}

// A sum of `size` elements whose first is called `first_element`.
class Summing {
 public:
  explicit Summing(size_t size, size_t first_element = 0)
      : first_element_(first_element),
        hi_(size, std::nan("")),
        lo_(size, std::nan("")),
        mean_(size) {}

  void Fold(absl::Span<const WeightedVector> contributions) {
    FoldExact(contributions, first_, absl::MakeSpan(hi_), absl::MakeSpan(lo_), first_element_,
              residues_);
    first_ = false;
  }
  const std::vector<float>& Close(absl::Span<const WeightedVector> contributions,
                                  double total_weight) {
    CloseExact(contributions, first_, hi_, lo_, first_element_, residues_, total_weight,
               absl::MakeSpan(mean_));
    return mean_;
  }

  std::vector<double>& hi() { return hi_; }
  std::vector<double>& lo() { return lo_; }
  std::vector<Residue>& residues() { return residues_; }

 private:
  size_t first_element_;
  bool first_ = true;
  std::vector<double> hi_, lo_;
  std::vector<Residue> residues_;
  std::vector<float> mean_;
};

// Five vectors of which an element's values are far apart, cancel, are zeros or denormals.
Vectors FarApart(size_t size) {
  const std::vector<std::array<float, 5>> patterns = {
      {1, 0x1p-35f, -0x1p-70f, 3, 0x1.8p-60f},
      {0x1p30f, 0x1.234566p-30f, -0x1p30f, 0x1p-100f, -0x1.234566p-30f},
      {0x1.fffffep127f, -0x1.fffffep127f, 1, kSmallest, -kSmallest},
      {0, -0.0f, 0, -0.0f, 0},
      {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f},
      {kSmallest, 3 * kSmallest, -0x1p-130f, 0x1.8p-140f, 0},
      {0x1.abcdeep-20f, 0x1.abcdeep50f, 0x1.abcdeep-90f, 0x1.abcdeep10f, -0x1.abcdeep50f},
      // If the weights are 1, 1, 1/2, 1/2, 1/4, the sum is what most orders have as a residue.
      {1, -1, 0x1p-59f, -0x1p-59f, 0x1p-120f},
      {0.1f, 0.2f, 0.3f, 0.4f, 0.5f},
      {-0x1p-149f, 0x1p100f, 0x1p-20f, 0x1p-80f, -0x1p100f},
      {kLargest, kLargest, kLargest, kLargest, kLargest},
  };
  Vectors vectors(5, std::vector<float>(size));
  for (size_t at = 0; at < size; ++at) {
    for (size_t i = 0; i < 5; ++i) vectors[i][at] = patterns[at % patterns.size()][i];
  }
  return vectors;
}

std::vector<WeightedVector> Weighted(const Vectors& vectors, const std::vector<float>& weights) {
  std::vector<WeightedVector> weighted;
  for (size_t i = 0; i < vectors.size(); ++i) weighted.push_back({vectors[i].data(), weights[i]});
  return weighted;
}

// Of weights 1 / (1 + staleness).
class ExactSumOrderTest : public ::testing::TestWithParam<std::vector<float>> {};

TEST_P(ExactSumOrderTest, EveryOrderAndEveryGroupingGivesTheExactMeanOnEveryTarget) {
  const Vectors vectors = FarApart(67);
  const std::vector<float>& weights = GetParam();
  const std::vector<float> expected = ReferenceMean(vectors, weights, Total(weights));
  const std::vector<WeightedVector> contributions = Weighted(vectors, weights);
  ForEachTarget([&] {
    std::array<size_t, 5> order = {0, 1, 2, 3, 4};
    size_t num_with_residues = 0;
    do {
      std::vector<WeightedVector> arrived;
      for (const size_t i : order) arrived.push_back(contributions[i]);
      // Bit i of the grouping: a pass ends after contribution i. After the last one: it is folded
      // too, and nothing is left for the closing pass.
      for (uint32_t grouping = 0; grouping < 32; ++grouping) {
        Summing sum(67);
        size_t begin = 0;
        for (size_t i = 0; i < 5; ++i) {
          if ((grouping >> i & 1) == 0) continue;
          sum.Fold(absl::MakeConstSpan(arrived).subspan(begin, i + 1 - begin));
          begin = i + 1;
        }
        if (!sum.residues().empty()) ++num_with_residues;
        const auto last = absl::MakeConstSpan(arrived).subspan(begin);
        ExpectSameBits(expected, sum.Close(last, Total(weights)));
        if (::testing::Test::HasFailure()) return;
      }
    } while (std::next_permutation(order.begin(), order.end()));
    EXPECT_GT(num_with_residues, 1000u);  // or nothing was said about them
  });
}

INSTANTIATE_TEST_SUITE_P(Weights, ExactSumOrderTest,
                         ::testing::Values(Weights(5), std::vector<float>{1, 1, 0.5f, 0.5f, 0.25f},
                                           std::vector<float>(5, 1.0f)));

// Eleven vectors. Elements from `awkward_from` on are awkward, and leave residues; those before are
// as gradients are, and hardly ever do.
Vectors Eleven(size_t size, size_t awkward_from) {
  Vectors vectors;
  for (size_t i = 0; i < 11; ++i) {
    std::vector<float>& vector = vectors.emplace_back(AwkwardFloats(size, i + 1));
    for (size_t at = 0; at < std::min(size, awkward_from); ++at) {
      if (vector[at] != 0) vector[at] = std::ldexp(vector[at], -std::ilogb(vector[at]) - at % 16);
    }
  }
  return vectors;
}

class ExactSumSizesTest : public ::testing::TestWithParam<size_t> {};

TEST_P(ExactSumSizesTest, EveryTargetGivesTheExactMean) {
  for (const size_t size : KernelSizes()) {
    const Vectors vectors = Eleven(size, GetParam());
    const std::vector<float> weights = Weights(vectors.size());
    const std::vector<float> expected = ReferenceMean(vectors, weights, Total(weights));
    const std::vector<WeightedVector> contributions = Weighted(vectors, weights);
    ForEachTarget([&] {
      Summing sum(size);
      sum.Fold(absl::MakeConstSpan(contributions).subspan(0, kMaxFold));
      if (GetParam() >= size) {
        EXPECT_TRUE(sum.residues().empty());
      }
      ExpectSameBits(expected, sum.Close(absl::MakeConstSpan(contributions).subspan(kMaxFold),
                                         Total(weights)));
      Summing at_once(size);
      ExpectSameBits(expected, at_once.Close(contributions, Total(weights)));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(AwkwardFrom, ExactSumSizesTest, ::testing::Values(0, 40, 100000));

TEST(ExactSumVectorTest, WhatIsBelowTheHalfWayPointDecides) {
  // 1 + 2^-24 + 2^-53 lies half-way between two doubles, of which the lower is even and lies
  // half-way between two floats, of which the lower is even.
  const float tail = 0x1p-140f;
  for (const float below : {tail, 0.0f, -tail}) {
    const Vectors vectors = {std::vector<float>(40, 4), std::vector<float>(40, 0x1p-22f),
                             std::vector<float>(40, 0x1p-51f), std::vector<float>(40, below)};
    const std::vector<float> weights(4, 0.25f);
    const std::vector<WeightedVector> contributions = Weighted(vectors, weights);
    const std::vector<float> expected(40, below > 0 ? 1 + 0x1p-23f : 1);
    ForEachTarget([&] {
      for (size_t folded = 0; folded <= 4; ++folded) {
        Summing sum(40);
        if (folded > 0) sum.Fold(absl::MakeConstSpan(contributions).subspan(0, folded));
        ExpectSameBits(expected,
                       sum.Close(absl::MakeConstSpan(contributions).subspan(folded), 1.0));
      }
    });
  }
}

TEST(ExactSumVectorTest, WhatIsKeptIsTheSumAndTheSameOnEveryTarget) {
  const Vectors vectors = FarApart(70);
  const std::vector<float> weights = Weights(5);
  const std::vector<WeightedVector> contributions = Weighted(vectors, weights);
  std::vector<double> hi, lo;
  ForEachTarget([&] {
    Summing sum(70);
    sum.Fold(absl::MakeConstSpan(contributions).subspan(0, 3));
    sum.Fold(absl::MakeConstSpan(contributions).subspan(3));
    for (size_t at = 0; at < 70; ++at) {
      ExactSum difference;
      difference.Add(sum.hi()[at]);
      difference.Add(sum.lo()[at]);
      for (const Residue& residue : sum.residues()) {
        if (residue.element == at) difference.Add(residue.value);
      }
      for (size_t i = 0; i < 5; ++i) {
        difference.Add(-static_cast<double>(weights[i]) * static_cast<double>(vectors[i][at]));
      }
      EXPECT_EQ(difference.Value(), 0) << at;
    }
    if (hi.empty()) {
      hi = sum.hi();
      lo = sum.lo();
    }
    EXPECT_EQ(sum.hi(), hi);
    EXPECT_EQ(sum.lo(), lo);
  });
}

TEST(ExactSumVectorTest, ShardsGiveTheBitsOfTheWhole) {
  constexpr size_t kSize = 300;
  const Vectors vectors = FarApart(kSize);
  const std::vector<float> weights = Weights(5);
  const std::vector<float> expected = ReferenceMean(vectors, weights, Total(weights));
  for (const size_t shard : {1, 7, 32, 100, 299, 300}) {
    std::vector<float> mean;
    std::vector<Residue> all_residues;
    for (size_t begin = 0; begin < kSize; begin += shard) {
      const size_t size = std::min(shard, kSize - begin);
      std::vector<WeightedVector> part = Weighted(vectors, weights);
      for (WeightedVector& vector : part) vector.values += begin;
      Summing sum(size, begin);
      sum.Fold(absl::MakeConstSpan(part).subspan(0, 4));
      // Those of other shards may stand in the list as well, in any order.
      all_residues.insert(all_residues.begin(), sum.residues().begin(), sum.residues().end());
      sum.residues() = all_residues;
      const std::vector<float>& of_shard =
          sum.Close(absl::MakeConstSpan(part).subspan(4), Total(weights));
      mean.insert(mean.end(), of_shard.begin(), of_shard.end());
    }
    EXPECT_GT(all_residues.size(), 20u);
    ExpectSameBits(expected, mean);
  }
}

TEST(ExactSumVectorTest, UnalignedVectorsGiveTheSameBits) {
  for (const size_t size : {33, 70, 1000}) {
    const std::vector<float> a = AwkwardFloats(size, 1);
    const std::vector<float> b = AwkwardFloats(size, 2);
    const std::vector<float> expected = ReferenceMean({a, b}, {1, 0.5f}, 1.5);
    OffsetVector apart(b, 1);
    ForEachTarget([&] {
      for (const size_t offset : {0, 1, 8}) {
        std::vector<double> hi(size + 16), lo(size + 16);
        std::vector<Residue> residues;
        const auto hi_span = absl::MakeSpan(hi).subspan(offset, size);
        const auto lo_span = absl::MakeSpan(lo).subspan(offset, size);
        FoldExact({{a.data(), 1}}, true, hi_span, lo_span, 0, residues);
        std::vector<float> mean(size + 1);
        CloseExact({{apart.span().data(), 0.5f}}, false, hi_span, lo_span, 0, residues, 1.5,
                   absl::MakeSpan(mean).subspan(1));
        ExpectSameBits(expected, absl::MakeSpan(mean).subspan(1));
      }
    });
  }
}

TEST(ExactSumVectorTest, ResiduesStayFewWhateverComes) {
  // Each pass leaves residues at every element, of every magnitude that float32 has.
  constexpr size_t kSize = 40;
  std::vector<std::vector<double>> terms(kSize);
  Summing sum(kSize);
  size_t most = 0;
  double total_weight = 0;
  for (uint64_t pass = 0; pass < 60; ++pass) {
    Vectors vectors(8, std::vector<float>(kSize));
    for (size_t i = 0; i < 8; ++i) {
      for (size_t at = 0; at < kSize; ++at) {
        const int exponent = static_cast<int>((pass * 8 + i) * 97 % 250) - 149;
        vectors[i][at] = std::ldexp(1.0f + static_cast<float>(at) * 0x1p-20f, exponent);
        terms[at].push_back(static_cast<double>(vectors[i][at]) * 0.75);
      }
    }
    sum.Fold(Weighted(vectors, std::vector<float>(8, 0.75f)));
    total_weight += 8 * 0.75;
    most = std::max(most, sum.residues().size());
  }
  EXPECT_GT(most, 2 * kSize);
  EXPECT_LE(most, 11 * kSize);
  const std::vector<float> mean = sum.Close({}, total_weight);
  for (size_t at = 0; at < kSize; ++at) {
    EXPECT_EQ(mean[at], static_cast<float>(ReferenceSum(terms[at]) / total_weight)) << at;
  }
}

TEST(ExactSumVectorTest, CompactedResiduesHaveTheSumAndAreFew) {
  std::vector<Residue> residues;
  ExactSum sums[3];
  for (int exponent = 256; exponent >= -298; --exponent) {
    const uint64_t element = static_cast<uint64_t>(exponent + 298) % 3;
    const double value = std::ldexp(exponent % 2 == 0 ? 1.25 : -1.75, exponent);
    residues.push_back({element, value});
    sums[element].Add(value);
  }
  CompactResidues(residues);
  EXPECT_LE(residues.size(), 3u * 11u);
  uint64_t last = 0;
  for (const Residue& residue : residues) {
    EXPECT_GE(residue.element, last);
    last = residue.element;
    sums[residue.element].Add(-residue.value);
  }
  for (const ExactSum& sum : sums) EXPECT_EQ(sum.Value(), 0);
}

TEST(ExactSumVectorTest, TheFirstPassReadsNothingAndForgetsWhatWas) {
  Summing sum(67);
  const Vectors vectors = FarApart(67);
  sum.residues().push_back({3, 1e30});
  sum.Fold({});
  EXPECT_TRUE(sum.residues().empty());
  EXPECT_EQ(sum.hi(), std::vector<double>(67));
  EXPECT_EQ(sum.lo(), std::vector<double>(67));
  // And a closing pass that is the first needs no sums at all.
  std::vector<float> mean(67);
  CloseExact({{vectors[0].data(), 0.5f}}, true, {}, {}, 0, {}, 0.5, absl::MakeSpan(mean));
  for (size_t at = 0; at < 67; ++at) EXPECT_EQ(mean[at], vectors[0][at]);
}

TEST(ExactSumVectorTest, AMeanOfTheLargestIsFinite) {
  const std::vector<float> largest(67, kLargest), lowest(67, -kLargest);
  const std::vector<float> weights(8, 0x1p127f);
  ForEachTarget([&] {
    Summing sum(67);
    for (int pass = 0; pass < 100; ++pass) sum.Fold(Weighted(Vectors(8, largest), weights));
    ExpectSameBits(largest, sum.Close({}, 800 * 0x1p127));
    sum.Fold(Weighted(Vectors(8, lowest), weights));
    EXPECT_EQ(sum.Close({}, 808 * 0x1p127)[0], static_cast<float>(kLargest * (792.0 / 808.0)));
  });
}

TEST(ExactSumVectorTest, AnElementThatIsNotFiniteIsNaNAndAloneInThat) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    Vectors vectors = FarApart(67);
    const std::vector<float> weights = Weights(5);
    const std::vector<float> expected = ReferenceMean(vectors, weights, Total(weights));
    vectors[2][40] = bad;
    const std::vector<WeightedVector> contributions = Weighted(vectors, weights);
    ForEachTarget([&] {
      for (size_t folded = 1; folded <= 5; ++folded) {
        Summing sum(67);
        sum.Fold(absl::MakeConstSpan(contributions).subspan(0, folded));
        std::vector<float> mean =
            sum.Close(absl::MakeConstSpan(contributions).subspan(folded), Total(weights));
        EXPECT_TRUE(std::isnan(mean[40]));
        mean[40] = expected[40];
        ExpectSameBits(expected, mean);
      }
    });
  }
}

}  // namespace
}  // namespace talweg::core
