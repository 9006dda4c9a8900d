// SPDX-License-Identifier: Apache-2.0
#include "core/noise/perturbation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/noise/noise_testing.h"
#include "core/noise/perturbation_testing.h"

namespace talweg::core {
namespace {

constexpr uint64_t kSeed = 0xfedcba9876543210;

// Matrices wider and narrower, lower and higher than a tile, a row, a column, and vectors between.
const std::vector<TensorExtent> kTensors = {{13, 0},        {37 * 300, 37}, {1, 0},     {5 * 7, 5},
                                            {520 * 3, 520}, {600, 1},       {170, 170}, {129, 0},
                                            {1, 1},         {65 * 33, 65},  {300, 0}};

struct Case {
  bool signs;
  uint32_t rank;
  std::string name() const {
    return (signs ? "signs, rank " : "normals, rank ") + std::to_string(rank);
  }
};
// Rank 130 is more than what one pass over a tile adds.
constexpr Case kCases[] = {{false, 0}, {false, 1}, {false, 3}, {false, 130},
                           {true, 0},  {true, 1},  {true, 4}};

Perturbation Make(const Case& c, const std::vector<TensorExtent>& tensors = kTensors) {
  return {kSeed, c.signs ? NoiseScheme::kRademacher : NoiseScheme::kNormal, c.rank, tensors};
}
PlainPerturbation Plain(const Case& c, const std::vector<TensorExtent>& tensors = kTensors) {
  return {kSeed, c.signs, c.rank, tensors};
}

// Pairs of several runs, some of them whole and some without a pair.
std::vector<PairWeight> SomeWeights() {
  TestNumbers numbers(5);
  std::vector<PairWeight> weights;
  for (const uint32_t pair : {0, 1, 2, 5, 62, 63, 64, 100, 127, 130, 400}) {
    weights.push_back({pair, numbers.Weight()});
  }
  for (uint32_t pair = 1024; pair < 1024 + 70; ++pair) weights.push_back({pair, numbers.Weight()});
  weights.push_back({0xffffffff, numbers.Weight()});
  return weights;
}

// Elements to compare, all of them around each border of tensors, and some between: the plain
// definition is slow.
std::vector<uint64_t> SomeElements(uint64_t num_elements) {
  std::vector<uint64_t> elements;
  uint64_t border = 0;
  for (const TensorExtent& tensor : kTensors) {
    for (uint64_t i = border; i < border + 3; ++i) elements.push_back(i);
    border += tensor.num_elements;
    for (uint64_t i = std::max<uint64_t>(border, 3) - 3; i < border; ++i) elements.push_back(i);
  }
  TestNumbers numbers(6);
  for (int i = 0; i < 60; ++i) elements.push_back(numbers.Below(num_elements));
  std::erase_if(elements, [&](uint64_t element) { return element >= num_elements; });
  return elements;
}

TEST(PerturbationTest, CountsElementsAndNumbers) {
  const std::vector<TensorExtent> mnist = {{784 * 512, 784}, {512, 0},    {512 * 512, 512},
                                           {512, 0},         {5120, 512}, {10, 0}};
  EXPECT_EQ(669706u, Make({false, 0}, mnist).num_elements());
  EXPECT_EQ(669706u, Make({false, 0}, mnist).num_numbers());
  EXPECT_EQ(669706u, Make({false, 2}, mnist).num_elements());
  EXPECT_EQ(2u * (784 + 512 + 512 + 512 + 512 + 10) + 512 + 512 + 10,
            Make({false, 2}, mnist).num_numbers());
  EXPECT_EQ(0u, Make({true, 1}, {}).num_elements());
}

TEST(PerturbationTest, DisplacementsAreTheDefinitionOnEveryTarget) {
  constexpr Draw kDraw = {3, 77};
  constexpr float kSigma = 0.0078f;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name());
    const Perturbation perturbation = Make(c);
    const PlainPerturbation plain = Plain(c);
    const size_t size = perturbation.num_elements();
    std::vector<float> from(size), plain_change(size), plus(size), minus(size), minus_change(size);
    TestNumbers numbers(7);
    for (size_t i = 0; i < size; ++i) {
      from[i] = numbers.Weight();
      plain_change[i] = plain.Displacement(kDraw, kSigma, i);
      plus[i] = from[i] + plain_change[i];
      minus[i] = from[i] - plain_change[i];
      minus_change[i] = plain.Displacement(kDraw, -kSigma, i);
    }
    ForEachTarget([&] {
      std::vector<float> got(size);
      perturbation.Displacement(kDraw, kSigma, 0, got);
      ExpectSameBits(plain_change, got);
      perturbation.Displacement(kDraw, -kSigma, 0, got);
      ExpectSameBits(minus_change, got);
      perturbation.Perturb(kDraw, kSigma, 0, from, got);
      ExpectSameBits(plus, got);
      got = from;  // in place
      perturbation.Perturb(kDraw, -kSigma, 0, got, got);
      ExpectSameBits(minus, got);
    });
  }
}

// fl(W - dW) is -0 for W = -0 and dW = +0, where adding the displacement of -sigma would make +0.
TEST(PerturbationTest, MinusPointKeepsTheSignOfZero) {
  // A displacement of signs with rank 2 is exactly zero for about half of the elements.
  const Perturbation perturbation = Make({true, 2}, {{64, 8}});
  std::vector<float> change(64), got(64);
  perturbation.Displacement({0, 0}, 1, 0, change);
  EXPECT_GT(std::count(change.begin(), change.end(), 0.0f), 0);
  std::vector<float> expected(64);
  const std::vector<float> from(64, -0.0f);
  for (size_t i = 0; i < 64; ++i) expected[i] = from[i] - change[i];
  perturbation.Perturb({0, 0}, -1, 0, from, got);
  ExpectSameBits(expected, got);
}

TEST(PerturbationTest, EstimatesAreTheDefinitionOnEveryTarget) {
  const std::vector<PairWeight> weights = SomeWeights();
  constexpr double kFactor = 0.123456789;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name());
    const Perturbation perturbation = Make(c);
    const PlainPerturbation plain = Plain(c);
    const std::vector<uint64_t> elements = SomeElements(perturbation.num_elements());
    std::vector<float> expected;
    expected.reserve(elements.size());
    for (const uint64_t element : elements) {
      expected.push_back(plain.Estimate(11, weights, kFactor, element));
    }
    ForEachTarget([&] {
      std::vector<float> all(perturbation.num_elements()), got;
      perturbation.Estimate(11, weights, kFactor, 0, all);
      for (const uint64_t element : elements) got.push_back(all[element]);
      ExpectSameBits(expected, got);
    });
  }
}

TEST(PerturbationTest, AnyCutGivesTheSameBits) {
  const std::vector<PairWeight> weights = SomeWeights();
  for (const Case& c : kCases) {
    if (c.rank > 4) continue;
    SCOPED_TRACE(c.name());
    const Perturbation perturbation = Make(c);
    const size_t size = perturbation.num_elements();
    std::vector<float> estimate(size), change(size), point(size), from(size, 0.25f);
    perturbation.Estimate(1, weights, 2.5, 0, estimate);
    perturbation.Displacement({1, 2}, 0.01f, 0, change);
    perturbation.Perturb({1, 2}, 0.01f, 0, from, point);
    ForEachTarget([&] {
      TestNumbers numbers(8);
      for (int cut = 0; cut < 60; ++cut) {
        const uint64_t begin = numbers.Below(size);
        const size_t longest = std::min<size_t>(size - begin, cut % 3 == 0 ? 40 : 4000);
        const size_t count = numbers.Below(longest + 1);
        std::vector<float> got(count + 2, 99);
        const std::span<float> to = std::span(got).subspan(1, count);
        perturbation.Estimate(1, weights, 2.5, begin, to);
        ExpectSameBits(std::span(estimate).subspan(begin, count), to);
        perturbation.Displacement({1, 2}, 0.01f, begin, to);
        ExpectSameBits(std::span(change).subspan(begin, count), to);
        perturbation.Perturb({1, 2}, 0.01f, begin, std::span(from).subspan(begin, count), to);
        ExpectSameBits(std::span(point).subspan(begin, count), to);
        EXPECT_EQ(99, got.front());
        EXPECT_EQ(99, got.back());
      }
    });
  }
}

TEST(PerturbationTest, WithoutPairsTheEstimateIsZero) {
  for (const Case& c : kCases) {
    const Perturbation perturbation = Make(c);
    std::vector<float> got(perturbation.num_elements(), 5);
    perturbation.Estimate(0, {}, 1, 0, got);
    ExpectSameBits(std::vector<float>(got.size(), 0.0f), got);
  }
}

TEST(PerturbationTest, ScaleOfAMatrixIsSigmaOverTheRootOfTheRankInFloat64) {
  TestNumbers numbers(9);
  for (uint32_t rank = 1; rank < 200; ++rank) {
    const Perturbation perturbation = Make({false, rank}, {});
    for (int i = 0; i < 20; ++i) {
      const float sigma = numbers.Weight();
      const double root = std::sqrt(static_cast<double>(rank));
      EXPECT_EQ(static_cast<float>(static_cast<double>(sigma) / root), perturbation.ScaleOf(sigma));
    }
  }
}

TEST(PerturbationTest, FactorsAreThoseOfTheDisplacement) {
  for (const bool signs : {false, true}) {
    const Perturbation perturbation = Make({signs, 3});
    const PlainPerturbation plain = Plain({signs, 3});
    std::vector<float> a(3 * 37), b(3 * 300);
    perturbation.Factors({5, 6}, 1, a, b);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(plain.Number(5, 6, 13 + i), a[i]);
    for (size_t i = 0; i < b.size(); ++i) EXPECT_EQ(plain.Number(5, 6, 13 + a.size() + i), b[i]);
  }
}

TEST(PerturbationTest, LargeLayoutsReachNumbersBeyondThirtyTwoBits) {
  const std::vector<TensorExtent> tensors = {{uint64_t{1} << 40, 0}, {uint64_t{1} << 34, 1 << 17}};
  for (const Case& c : {Case{false, 0}, Case{false, 2}, Case{true, 0}, Case{true, 1}}) {
    const Perturbation perturbation = Make(c, tensors);
    const PlainPerturbation plain = Plain(c, tensors);
    const std::vector<PairWeight> weights = {{3, 0.5f}, {900, -0.25f}};
    for (const uint64_t begin :
         {(uint64_t{1} << 40) - 40, (uint64_t{1} << 40) + (uint64_t{1} << 33) + 131072 - 17}) {
      std::vector<float> change(80), estimate(80);
      perturbation.Displacement({1, 3}, 0.5f, begin, change);
      perturbation.Estimate(1, weights, 3, begin, estimate);
      for (size_t i = 0; i < change.size(); ++i) {
        EXPECT_EQ(plain.Displacement({1, 3}, 0.5f, begin + i), change[i]);
        EXPECT_EQ(plain.Estimate(1, weights, 3, begin + i), estimate[i]);
      }
    }
  }
}

// The c of perturbation.h for a matrix [m, n] among d elements; m = 0 for a vector.
double VarianceOf(const Case& c, double m, double n, double d) {
  if (c.rank == 0 || m == 0) return c.signs ? d - 1 : d + 1;
  const double r = c.rank;
  return c.signs ? d + 1 - 2 / r : d + 1 + 2 * (m + n + 1) / r;
}

// For a linear loss <G, W> of a matrix and a vector: many estimates of few pairs each.
TEST(PerturbationTest, EstimateOfALinearLossHasItsGradientAsMeanAndTheVarianceOfTheHeader) {
  constexpr size_t kRows = 6, kCols = 9, kMatrix = kRows * kCols, kSize = kMatrix + 5;
  constexpr uint32_t kPairs = 4;
  constexpr uint32_t kGenerations = 10000;
  TestNumbers numbers(10);
  std::vector<double> gradient(kSize);
  for (double& value : gradient) value = numbers.Weight();
  for (const Case& c : {Case{false, 0}, Case{false, 1}, Case{false, 4}, Case{true, 0},
                        Case{true, 1}, Case{true, 4}}) {
    SCOPED_TRACE(c.name());
    const Perturbation perturbation = Make(c, {{kMatrix, kRows}, {kSize - kMatrix, 0}});
    std::vector<double> sum(kSize), sum_of_squares(kSize);
    double errors = 0, squared_errors = 0;
    for (uint32_t generation = 0; generation < kGenerations; ++generation) {
      std::vector<PairWeight> weights;
      std::vector<float> change(kSize), estimate(kSize);
      for (uint32_t pair = 0; pair < kPairs; ++pair) {
        perturbation.Displacement({generation, pair}, 1, 0, change);
        double difference = 0;  // (L(W + dW) - L(W - dW)) / 2
        for (size_t i = 0; i < kSize; ++i) difference += gradient[i] * change[i];
        weights.push_back({pair, static_cast<float>(difference)});
      }
      perturbation.Estimate(generation, weights, 1.0 / kPairs, 0, estimate);
      double error = 0;
      for (size_t i = 0; i < kSize; ++i) {
        sum[i] += estimate[i];
        sum_of_squares[i] += static_cast<double>(estimate[i]) * estimate[i];
        error += (estimate[i] - gradient[i]) * (estimate[i] - gradient[i]);
      }
      errors += error;
      squared_errors += error * error;
    }
    // All within five standard errors, which the sample tells.
    for (size_t i = 0; i < kSize; ++i) {
      const double mean = sum[i] / kGenerations;
      const double variance = sum_of_squares[i] / kGenerations - mean * mean;
      EXPECT_NEAR(gradient[i], mean, 5 * std::sqrt(variance / kGenerations)) << "element " << i;
    }
    const double mean = errors / kGenerations;
    const double variance = squared_errors / kGenerations - mean * mean;
    double expected = 0;
    for (size_t i = 0; i < kSize; ++i) {
      const double of_tensor = VarianceOf(c, i < kMatrix ? kRows : 0, kCols, kSize);
      expected += of_tensor / kPairs * gradient[i] * gradient[i];
    }
    const double standard_error = std::sqrt(variance / kGenerations);
    EXPECT_NEAR(expected, mean, 5 * standard_error);
    // Sharp enough to tell dense normals from those of rank 1 and 4.
    EXPECT_LT(5 * standard_error, 0.1 * expected);
  }
}

TEST(PerturbationTest, DataSeedIsBelowTwoToTheFiftyThree) {
  const PhiloxWords words = Philox({0, 5 << 16, 0, 9}, {0x76543210, 0xfedcba98});
  const uint64_t whole = uint64_t{words[1]} << 32 | words[0];
  EXPECT_EQ(whole >> 11, DataSeed(kSeed, 9));
  EXPECT_LT(DataSeed(kSeed, 9), uint64_t{1} << 53);
  EXPECT_NE(DataSeed(kSeed, 9), DataSeed(kSeed, 10));
}

}  // namespace
}  // namespace talweg::core
