// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/product.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

template <class Real>
std::vector<Real> Noise(size_t size, uint64_t seed) {
  std::vector<Real> values(size);
  for (Real& value : values) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    value = static_cast<Real>(static_cast<double>(seed >> 40) / 8388608 - 1);
  }
  return values;
}

// Blocks of larger matrices, plain and transposed, against three loops.
template <class Real>
void ExpectProducts(double tolerance) {
  constexpr size_t kRows = 5, kCols = 7, kInner = 3, kStride = 11;
  const std::vector<Real> a = Noise<Real>(kStride * kStride, 1);
  const std::vector<Real> b = Noise<Real>(kStride * kStride, 2);
  const auto at = [](const MatrixView<Real>& m, size_t i, size_t j) {
    return static_cast<double>(m.transposed ? m.data[j * m.stride + i] : m.data[i * m.stride + j]);
  };
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      for (const Real keep : {Real{0}, Real{1}}) {
        const MatrixView<Real> left = {a.data() + 2, kStride, trans_a};
        const MatrixView<Real> right = {b.data() + 3, kStride, trans_b};
        const std::vector<Real> before =
            keep == 0 ? std::vector<Real>(kRows * kStride, NAN) : Noise<Real>(kRows * kStride, 3);
        std::vector<Real> c = before;
        Multiply<Real>(kRows, kCols, kInner, left, right, keep, c.data(), kStride);
        for (size_t i = 0; i < kRows; ++i) {
          for (size_t j = 0; j < kCols; ++j) {
            double sum = keep == 0 ? 0 : static_cast<double>(before[i * kStride + j]);
            for (size_t k = 0; k < kInner; ++k) sum += at(left, i, k) * at(right, k, j);
            EXPECT_NEAR(static_cast<double>(c[i * kStride + j]), sum, tolerance);
          }
        }
      }
    }
  }
}

TEST(ProductTest, IsTheSumOfProductsOfBlocks) {
  ExpectProducts<float>(1e-6);
  ExpectProducts<double>(1e-14);
}

TEST(ProductTest, OuterProductIsAddedToABlock) {
  const std::vector<double> x = Noise<double>(12, 4);
  const std::vector<double> y = Noise<double>(5, 5);
  const std::vector<double> before = Noise<double>(3 * 8, 6);
  std::vector<double> c = before;
  AddOuterProduct<double>(3, 5, x.data(), 4, y.data(), c.data(), 8);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      const double added = j < 5 ? x[4 * i] * y[j] : 0;
      EXPECT_DOUBLE_EQ(c[i * 8 + j], before[i * 8 + j] + added);
    }
  }
}

}  // namespace
}  // namespace talweg::core
