// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/newton_schulz.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

// Row-major, in double.
struct Matrix {
  size_t rows, cols;
  std::vector<double> values;

  Matrix(size_t r, size_t c) : rows(r), cols(c), values(r * c) {}
  double& at(size_t row, size_t col) { return values[row * cols + col]; }
  double at(size_t row, size_t col) const { return values[row * cols + col]; }
};

double Noise(uint64_t& state) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return static_cast<double>(state >> 40) / 8388608 - 1;
}

// Some orthogonal matrix: a product of reflections.
Matrix Orthogonal(size_t n, uint64_t seed) {
  Matrix q(n, n);
  for (size_t i = 0; i < n; ++i) q.at(i, i) = 1;
  std::vector<double> mirror(n);
  for (int reflection = 0; reflection < 3; ++reflection) {
    double sum = 0;
    for (double& value : mirror) {
      value = Noise(seed);
      sum += value * value;
    }
    for (size_t row = 0; row < n; ++row) {
      double along = 0;
      for (size_t k = 0; k < n; ++k) along += q.at(row, k) * mirror[k];
      for (size_t k = 0; k < n; ++k) q.at(row, k) -= 2 * along / sum * mirror[k];
    }
  }
  return q;
}

// U diag(singular values) V^T.
Matrix WithSingularValues(const Matrix& u, const std::vector<double>& s, const Matrix& v) {
  Matrix x(u.rows, v.rows);
  for (size_t row = 0; row < x.rows; ++row) {
    for (size_t k = 0; k < s.size(); ++k) {
      for (size_t col = 0; col < x.cols; ++col) {
        x.at(row, col) += u.at(row, k) * s[k] * v.at(col, k);
      }
    }
  }
  return x;
}

double Norm(absl::Span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

std::vector<float> Orthogonalized(const Matrix& x, uint64_t steps) {
  std::vector<float> values(x.values.begin(), x.values.end());
  std::vector<float> scratch(NewtonSchulzScratch(x.rows, x.cols), std::nanf(""));
  NewtonSchulz(x.rows, x.cols, steps, std::max(Norm(x.values), 1e-300), absl::MakeSpan(values),
               absl::MakeSpan(scratch));
  return values;
}

struct Shape {
  size_t rows, cols;
};
constexpr Shape kShapes[] = {{1, 1},  {1, 9},   {9, 1},   {3, 2},
                             {8, 36}, {33, 33}, {96, 40}, {40, 130}};

// How far an element may be off, the result's singular values being about 1. p' is 3.4445 at 0, so
// that k steps multiply whatever noise lies along a singular value near 0 by 3.4445^k: 1,670 for 6
// steps, of the 2^-25 = 3e-8 by which an element is off before the first. Roundings of the steps
// themselves, 2^-24 sqrt(length) a product, meet fewer steps and add about as much. Measured: 4e-5.
constexpr double kTolerance = 1e-4;

TEST(NewtonSchulzTest, TakesThePolynomialOfEachSingularValue) {
  for (const Shape shape : kShapes) {
    const Matrix u = Orthogonal(shape.rows, 1);
    const Matrix v = Orthogonal(shape.cols, 2);
    std::vector<double> s(std::min(shape.rows, shape.cols));
    // From 1 down to a thousandth, the last one (of several) 0.
    for (size_t i = 0; i < s.size(); ++i) s[i] = 3.7 * std::pow(1e-3, double(i) / double(s.size()));
    if (s.size() > 1) s.back() = 0;
    const Matrix x = WithSingularValues(u, s, v);
    const double norm = Norm(s);
    for (const uint64_t steps : {1, 2, 5, 6}) {
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols << ", " << steps);
      std::vector<double> expected_s;
      for (double value : s) {
        value /= norm;
        for (uint64_t step = 0; step < steps; ++step) {
          value = 3.4445 * value - 4.7750 * std::pow(value, 3) + 2.0315 * std::pow(value, 5);
        }
        expected_s.push_back(value);
      }
      const Matrix expected = WithSingularValues(u, expected_s, v);
      const std::vector<float> got = Orthogonalized(x, steps);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected.values[i], kTolerance) << i;
      }
    }
  }
}

TEST(NewtonSchulzTest, FiveStepsMakeRowsOrColumnsNearlyOrthonormal) {
  // With singular values in [0.68, 1.21], those of X X^T - I are within 0.55.
  for (const Shape shape : {Shape{16, 64}, Shape{64, 16}}) {
    uint64_t seed = 5;
    Matrix x(shape.rows, shape.cols);
    for (double& value : x.values) value = 1e12 * Noise(seed);  // the scale does not matter
    const std::vector<float> got = Orthogonalized(x, 5);
    const bool wide = shape.rows < shape.cols;
    for (size_t i = 0; i < 16; ++i) {
      for (size_t j = 0; j < 16; ++j) {
        double product = 0;
        for (size_t k = 0; k < 64; ++k) {
          product += wide ? double{got[i * 64 + k]} * got[j * 64 + k]
                          : double{got[k * 16 + i]} * got[k * 16 + j];
        }
        EXPECT_NEAR(product, i == j ? 1 : 0, 0.55) << i << " " << j;
      }
    }
  }
}

TEST(NewtonSchulzTest, ZeroStaysZero) {
  for (const float value : Orthogonalized(Matrix(5, 7), 5)) EXPECT_EQ(value, 0);
}

TEST(NewtonSchulzTest, ThreadsThatCallAtTheSameTimeGetTheSameBits) {
  uint64_t seed = 7;
  Matrix x(200, 300);
  for (double& value : x.values) value = Noise(seed);
  const std::vector<float> expected = Orthogonalized(x, 5);
  std::vector<std::vector<float>> got(4);
  std::vector<std::thread> threads;
  for (auto& mine : got) threads.emplace_back([&] { mine = Orthogonalized(x, 5); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : got) {
    EXPECT_EQ(std::memcmp(mine.data(), expected.data(), mine.size() * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace talweg::core
