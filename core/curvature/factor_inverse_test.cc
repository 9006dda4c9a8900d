// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/factor_inverse.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/half_float.h"
#include "core/linalg/packed_triangle.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

double Noise(uint64_t& state) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return static_cast<double>(state >> 40) / 8388608 - 1;
}

// (1/m) X^T X of m rows of noise, packed.
std::vector<float> FactorOf(size_t n, size_t m, uint64_t& seed, double scale = 1) {
  std::vector<double> x(m * n);
  for (double& value : x) value = Noise(seed) * scale;
  std::vector<float> packed;
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = row; col < n; ++col) {
      double sum = 0;
      for (size_t k = 0; k < m; ++k) sum += x[k * n + row] * x[k * n + col];
      packed.push_back(static_cast<float>(sum / static_cast<double>(m)));
    }
  }
  return packed;
}

struct Inverted {
  InverseOutcome outcome;
  double damping;
  std::vector<float> inverse;
};

Inverted Invert(size_t n, const std::vector<float>& packed, double damping) {
  FactorInverse inversion(n, packed, damping);
  int pieces = 0;
  while (inversion.Advance()) EXPECT_LT(++pieces, 100000);
  return {inversion.outcome(), inversion.damping(), inversion.TakeInverse()};
}

// The largest element of (A + damping I) inverse - I, in double.
double Residual(size_t n, const std::vector<float>& packed, const Inverted& inverted) {
  std::vector<double> a(n * n);
  UnpackUpper<float, double>(n, packed, absl::MakeSpan(a));
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = 0; col < row; ++col) a[row * n + col] = a[col * n + row];
    a[row * n + row] += inverted.damping;
  }
  double worst = 0;
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = 0; col < n; ++col) {
      double sum = row == col ? -1 : 0;
      for (size_t k = 0; k < n; ++k) {
        sum += a[row * n + k] * static_cast<double>(inverted.inverse[k * n + col]);
      }
      worst = std::max(worst, std::abs(sum));
    }
  }
  return worst;
}

TEST(FactorInverseTest, InvertsWhatIsPositiveDefinite) {
  uint64_t seed = 5;
  for (const size_t n : {1, 2, 31, 33, 70, 150}) {
    const std::vector<float> factor = FactorOf(n, 3 * n, seed);
    const Inverted inverted = Invert(n, factor, 0.05);
    EXPECT_EQ(inverted.outcome, InverseOutcome::kFloat32);
    EXPECT_EQ(inverted.damping, 0.05);
    ASSERT_EQ(inverted.inverse.size(), n * n);
    EXPECT_LT(Residual(n, factor, inverted), 1e-4) << n;
  }
}

// Rank 4, whose other eigenvalues are the damping alone: too little for float32, enough for double.
// At n = 40 float32 finds it positive definite, and its inverse is wrong by a sixth.
TEST(FactorInverseTest, TriesDoubleBeforeItAddsDamping) {
  uint64_t seed = 6;
  for (const size_t n : {40, 90}) {
    const std::vector<float> factor = FactorOf(n, 4, seed);
    const Inverted inverted = Invert(n, factor, 1e-6);
    EXPECT_EQ(inverted.outcome, InverseOutcome::kFloat64);
    EXPECT_EQ(inverted.damping, 1e-6);
    EXPECT_LT(Residual(n, factor, inverted), 0.05) << n;
  }
}

TEST(FactorInverseTest, AddsDampingToWhatIsIndefinite) {
  // Eigenvalues 2, 1 and -3: damping below 3 does not suffice.
  const std::vector<float> indefinite = {2, 0, 0, 1, 0, -3};
  const Inverted inverted = Invert(3, indefinite, 0.01);
  EXPECT_EQ(inverted.outcome, InverseOutcome::kMoreDamping);
  EXPECT_DOUBLE_EQ(inverted.damping, 10);
  EXPECT_FLOAT_EQ(inverted.inverse[0], 1.0f / 12);
  EXPECT_FLOAT_EQ(inverted.inverse[8], 1.0f / 7);
  // Without any damping the first raise is told by the diagonal.
  const Inverted from_zero = Invert(3, indefinite, 0);
  EXPECT_EQ(from_zero.outcome, InverseOutcome::kMoreDamping);
  EXPECT_DOUBLE_EQ(from_zero.damping, 2e-6 * 1e7);
}

TEST(FactorInverseTest, FailsWhereThereIsNoInverse) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), -HUGE_VALF}) {
    for (const size_t at : {0, 1, 5}) {
      std::vector<float> factor = {2, 0.5f, 0.25f, 2, 0.5f, 2};
      factor[at] = bad;
      const Inverted inverted = Invert(3, factor, 1);
      EXPECT_EQ(inverted.outcome, InverseOutcome::kFailed);
      EXPECT_TRUE(inverted.inverse.empty());
    }
  }
  EXPECT_EQ(Invert(3, std::vector<float>(6), 0).outcome, InverseOutcome::kFailed);
  // With damping there is one: I / 4.
  const Inverted zero = Invert(3, std::vector<float>(6), 4);
  EXPECT_EQ(zero.outcome, InverseOutcome::kFloat32);
  EXPECT_EQ(zero.inverse, (std::vector<float>{0.25f, 0, 0, 0, 0.25f, 0, 0, 0, 0.25f}));
}

// Whatever comes, what goes out is finite, or nothing.
TEST(FactorInverseTest, NoHostileFactorMakesANumberThatIsNone) {
  uint64_t seed = 9;
  const auto draw = [&](uint64_t below) {
    return static_cast<size_t>((Noise(seed) + 1) / 2 * static_cast<double>(below));
  };
  std::array<int, 4> outcomes = {};
  for (int turn = 0; turn < 20000; ++turn) {
    const size_t n = 1 + draw(8);
    std::vector<float> factor = FactorOf(n, 1 + draw(3), seed, std::pow(10.0, 18 * Noise(seed)));
    const size_t kind = draw(6);
    for (float& value : factor) {
      if (kind == 0) value = 0;
      if (kind == 1) value = static_cast<float>(Noise(seed) * 1e30);
      if (kind == 2) value = Float32FromBfloat16(Bfloat16FromFloat32(value));
      if (kind == 3) value = -value;
    }
    if (kind == 4) factor[draw(factor.size())] = turn % 2 == 0 ? HUGE_VALF : std::nanf("");
    const double damping = draw(4) == 0 ? 0 : std::pow(10.0, 20 * Noise(seed));
    const Inverted inverted = Invert(n, factor, damping);
    ++outcomes.at(static_cast<size_t>(inverted.outcome));
    EXPECT_EQ(inverted.inverse.size(), inverted.outcome == InverseOutcome::kFailed ? 0 : n * n);
    EXPECT_TRUE(std::isfinite(inverted.damping));
    for (const float value : inverted.inverse) ASSERT_TRUE(std::isfinite(value)) << turn;
    for (size_t row = 0; row < n && !inverted.inverse.empty(); ++row) {
      ASSERT_GT(inverted.inverse[row * n + row], 0) << turn;
    }
  }
  for (const int count : outcomes) EXPECT_GT(count, 50);
}

}  // namespace
}  // namespace talweg::core
