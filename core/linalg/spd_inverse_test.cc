// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/spd_inverse.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

double Noise(uint64_t& state) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return static_cast<double>(state >> 40) / 8388608 - 1;
}

// (1/m) X^T X + shift I from m rows of noise, whose columns have scales from 1 to `spread`.
std::vector<double> Spd(size_t n, size_t m, double shift, double spread = 1, uint64_t seed = 7) {
  std::vector<double> x(m * n);
  for (size_t i = 0; i < x.size(); ++i) {
    const double place = n == 1 ? 0 : static_cast<double>(i % n) / static_cast<double>(n - 1);
    x[i] = Noise(seed) * std::pow(spread, place);
  }
  std::vector<double> a(n * n);
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = row; col < n; ++col) {
      double sum = 0;
      for (size_t k = 0; k < m; ++k) sum += x[k * n + row] * x[k * n + col];
      a[row * n + col] = a[col * n + row] = sum / static_cast<double>(m) + (row == col ? shift : 0);
    }
  }
  return a;
}

// The inverse by elimination with the largest pivots, in long double: another algorithm.
std::vector<double> Eliminated(size_t n, const std::vector<double>& a) {
  std::vector<long double> left(a.begin(), a.end());
  std::vector<long double> right(n * n);
  for (size_t i = 0; i < n; ++i) right[i * n + i] = 1;
  for (size_t step = 0; step < n; ++step) {
    size_t pivot = step;
    for (size_t row = step; row < n; ++row) {
      if (std::abs(left[row * n + step]) > std::abs(left[pivot * n + step])) pivot = row;
    }
    for (size_t col = 0; col < n; ++col) {
      std::swap(left[pivot * n + col], left[step * n + col]);
      std::swap(right[pivot * n + col], right[step * n + col]);
    }
    const long double divisor = left[step * n + step];
    for (size_t col = 0; col < n; ++col) {
      left[step * n + col] /= divisor;
      right[step * n + col] /= divisor;
    }
    for (size_t row = 0; row < n; ++row) {
      const long double factor = left[row * n + step];
      if (row == step || factor == 0) continue;
      for (size_t col = 0; col < n; ++col) {
        left[row * n + col] -= factor * left[step * n + col];
        right[row * n + col] -= factor * right[step * n + col];
      }
    }
  }
  return {right.begin(), right.end()};
}

// The upper triangle of `a`; what stands below it must not matter.
template <class Real>
std::vector<Real> UpperOf(size_t n, const std::vector<double>& a) {
  std::vector<Real> upper(n * n, std::numeric_limits<Real>::quiet_NaN());
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = row; col < n; ++col) {
      upper[row * n + col] = static_cast<Real>(a[row * n + col]);
    }
  }
  return upper;
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

template <class Real>
class SpdInverseTest : public ::testing::Test {};
using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SpdInverseTest, Reals);

TYPED_TEST(SpdInverseTest, EqualsEliminationWithPivots) {
  constexpr auto kEpsilon = static_cast<double>(std::numeric_limits<TypeParam>::epsilon());
  for (const size_t n : {1, 2, 3, 31, 32, 33, 63, 65, 100, 129, 200}) {
    for (const double spread : {1.0, 10.0}) {
      const std::vector<double> a = Spd(n, 2 * n + 3, 0.1, spread);
      const std::vector<double> expected = Eliminated(n, a);
      const SpdInverse<TypeParam> inversion(n);
      const SpdInverse<TypeParam> cut(n, /*piece_flops=*/50 * static_cast<double>(n));
      if (n > 64) {
        EXPECT_GT(cut.num_pieces(), 4 * inversion.num_pieces());
      }
      std::vector<TypeParam> inverse = UpperOf<TypeParam>(n, a);
      std::vector<TypeParam> by_pieces = inverse;
      ASSERT_TRUE(inversion.RunAll(absl::MakeSpan(inverse)));
      for (size_t piece = 0; piece < cut.num_pieces(); ++piece) {
        ASSERT_TRUE(cut.Run(piece, absl::MakeSpan(by_pieces)));
      }
      // Higham 2002, Accuracy and Stability, section 14.3: the error is bounded by a small multiple
      // of n eps kappa(A) ||A^-1||; kappa is at most ||A|| ||A^-1|| n in these norms.
      const double kappa = Largest(a) * Largest(expected) * static_cast<double>(n);
      const double bound = 4 * kEpsilon * kappa * Largest(expected);
      for (size_t i = 0; i < n * n; ++i) {
        ASSERT_NEAR(inverse[i], expected[i], bound) << n << " " << spread << " " << i;
        ASSERT_NEAR(by_pieces[i], expected[i], bound) << n << " " << spread << " " << i;
      }
    }
  }
}

// A^-1 A x = x.
TYPED_TEST(SpdInverseTest, ALargeOneUndoesItsMatrix) {
  constexpr auto kEpsilon = static_cast<double>(std::numeric_limits<TypeParam>::epsilon());
  constexpr size_t n = 1500;
  const std::vector<double> a = Spd(n, 40, 1);
  std::vector<TypeParam> inverse = UpperOf<TypeParam>(n, a);
  const SpdInverse<TypeParam> inversion(n);
  ASSERT_TRUE(inversion.RunAll(absl::MakeSpan(inverse)));
  uint64_t seed = 3;
  std::vector<double> x(n);
  for (double& value : x) value = Noise(seed);
  std::vector<double> y(n);
  for (size_t row = 0; row < n; ++row) {
    for (size_t col = 0; col < n; ++col) y[row] += a[row * n + col] * x[col];
  }
  double worst = 0;
  for (size_t row = 0; row < n; ++row) {
    double sum = 0;
    for (size_t col = 0; col < n; ++col) {
      ASSERT_EQ(inverse[row * n + col], inverse[col * n + row]);
      sum += static_cast<double>(inverse[row * n + col]) * y[col];
    }
    worst = std::max(worst, std::abs(sum - x[row]));
  }
  EXPECT_LT(worst, 200 * kEpsilon);
}

TYPED_TEST(SpdInverseTest, TheBitsDependOnNoThread) {
  constexpr size_t n = 300;
  const std::vector<double> a = Spd(n, n, 0.01);
  const SpdInverse<TypeParam> inversion(n);
  const std::vector<TypeParam> upper = UpperOf<TypeParam>(n, a);
  std::vector<TypeParam> here = upper;
  ASSERT_TRUE(inversion.RunAll(absl::MakeSpan(here)));
  std::vector<std::vector<TypeParam>> there(4, upper);
  std::vector<std::thread> threads;
  for (std::vector<TypeParam>& each : there) {
    threads.emplace_back([&] { EXPECT_TRUE(inversion.RunAll(absl::MakeSpan(each))); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<TypeParam>& each : there) {
    EXPECT_EQ(std::memcmp(each.data(), here.data(), here.size() * sizeof(TypeParam)), 0);
  }
}

TYPED_TEST(SpdInverseTest, SaysWhatIsNotPositiveDefinite) {
  for (const size_t n : {1, 5, 40, 100}) {
    const SpdInverse<TypeParam> inversion(n);
    const std::vector<double> a = Spd(n, 2 * n, 0.5);
    const auto refused = [&](size_t row, size_t col, double value) {
      std::vector<TypeParam> spoilt = UpperOf<TypeParam>(n, a);
      spoilt[row * n + col] = static_cast<TypeParam>(value);
      return !inversion.RunAll(absl::MakeSpan(spoilt));
    };
    for (const size_t at : {size_t{0}, n / 2, n - 1}) {
      EXPECT_TRUE(refused(at, at, 0));
      EXPECT_TRUE(refused(at, at, -1));
      EXPECT_TRUE(refused(at, at, std::nan("")));
      EXPECT_TRUE(refused(at, at, HUGE_VAL));
      if (at == 0) continue;
      EXPECT_TRUE(refused(0, at, 1e6));
      EXPECT_TRUE(refused(0, at, std::nan("")));
      EXPECT_TRUE(refused(at - 1, at, HUGE_VAL));
    }
    // Rank 3, and rounding decides of the rest; it must never end in numbers that are none.
    std::vector<TypeParam> singular = UpperOf<TypeParam>(n, Spd(n, 3, 0));
    if (inversion.RunAll(absl::MakeSpan(singular))) {
      for (const TypeParam value : singular) ASSERT_TRUE(std::isfinite(value));
    }
  }
  // The inverse of what is nearly 0 is beyond float32.
  std::vector<TypeParam> tiny = {TypeParam{1e-42}};
  EXPECT_EQ(SpdInverse<TypeParam>(1).RunAll(absl::MakeSpan(tiny)), sizeof(TypeParam) == 8);
}

}  // namespace
}  // namespace talweg::core
