// SPDX-License-Identifier: Apache-2.0
#include "core/noise/normal.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numbers>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace talweg::core {
namespace {

uint32_t FromHex(const std::string& text) {
  return static_cast<uint32_t>(std::strtoul(text.c_str(), nullptr, 16));
}

TEST(NormalTest, HasTheBitsThatNumPyComputes) {
  std::ifstream file(TALWEG_NOISE_DIR "/normal_vectors.json");
  ASSERT_TRUE(file.is_open());
  const nlohmann::json rows = nlohmann::json::parse(file)["normals"];
  ASSERT_GT(rows.size(), 300u);
  for (const nlohmann::json& row : rows) {
    PhiloxWords words;
    for (int i = 0; i < 4; ++i) words[i] = FromHex(row[0][i].get<std::string>());
    const std::array<float, 4> normals = NormalsFromWords(words);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(normals[i]), FromHex(row[1][i].get<std::string>()))
          << row.dump() << " number " << i;
    }
  }
}

// Largest relative error of the two normals of words a and b against the formulas of normal.h in
// float64. An exact zero must be met exactly.
double ErrorOf(uint32_t a, uint32_t b) {
  const double k = static_cast<float>(a >> 1 | 1);  // its rounding belongs to the definition
  const double radius = std::sqrt(-2 * std::log(k * 0x1p-31));
  // Straight from the whole angle, without quadrants: the middle of the cell [b, b + 1).
  const long double angle = 2 * std::numbers::pi_v<long double> * ((b + 0.5L) * 0x1p-32L);
  const std::array<float, 4> normals = NormalsFromWords({a, b, a, b});
  const double expected[] = {static_cast<double>(radius * std::cos(angle)),
                             static_cast<double>(radius * std::sin(angle))};
  double worst = 0;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(normals[i]), std::bit_cast<uint32_t>(normals[i + 2]));
    if (radius == 0) {
      EXPECT_EQ(normals[i], 0.0f);
    } else {
      worst = std::max(worst, std::abs(normals[i] - expected[i]) / std::abs(expected[i]));
    }
  }
  return worst;
}

constexpr double kTolerance = 4e-7;

TEST(NormalTest, StaysWithinItsErrorOverManyWords) {
  double worst = 0;
  for (uint32_t block = 0; block < 500000; ++block) {
    const PhiloxWords words = Philox({block, 0, 0, 0}, {11, 12});
    worst = std::max({worst, ErrorOf(words[0], words[1]), ErrorOf(words[2], words[3])});
  }
  EXPECT_LE(worst, kTolerance);
  RecordProperty("worst_relative_error", std::to_string(worst * 1e9) + "e-9");
}

TEST(NormalTest, StaysWithinItsErrorAtEveryCorner) {
  // Around each power of two, each eighth of a turn and both ends, for radius and angle.
  std::vector<uint32_t> corners;
  for (int bit = 0; bit < 32; ++bit) {
    for (int offset = -2; offset <= 2; ++offset) {
      corners.push_back((uint32_t{1} << bit) + static_cast<uint32_t>(offset));
      corners.push_back(0u - (uint32_t{1} << bit) + static_cast<uint32_t>(offset));
    }
  }
  for (uint32_t eighth = 0; eighth < 8; ++eighth) {
    for (int offset = -2; offset <= 2; ++offset) {
      corners.push_back((eighth << 29) + static_cast<uint32_t>(offset));
    }
  }
  double worst = 0;
  for (const uint32_t a : corners) {
    for (const uint32_t b : corners) worst = std::max(worst, ErrorOf(a, b));
  }
  EXPECT_LE(worst, kTolerance);
}

TEST(NormalTest, NoNumberIsLargerThanItsBoundOrSubnormal) {
  const std::array<float, 4> largest = NormalsFromWords({0, 0, 1, 0x40000000});
  EXPECT_LE(largest[0], kLargestNormal);
  EXPECT_GT(largest[0], kLargestNormal - 1e-3f);
  EXPECT_LE(largest[3], kLargestNormal);
  // The smallest radius above zero at the smallest angle.
  const std::array<float, 4> smallest = NormalsFromWords({0xffffff7e, 0, 0xffffffff, 0x12345678});
  EXPECT_GT(smallest[1], 1e-14f);
  EXPECT_EQ(smallest[2], 0.0f);
}

TEST(NormalTest, ComplementedAngleWordMirrorsTheSine) {
  for (uint32_t block = 0; block < 1000; ++block) {
    const PhiloxWords words = Philox({block, 0, 0, 0}, {3, 4});
    const std::array<float, 4> normals =
        NormalsFromWords({words[0], words[1], words[0], ~words[1]});
    EXPECT_EQ(normals[0], normals[2]);
    EXPECT_EQ(normals[1], -normals[3]);
  }
}

// One million draws of a fixed seed. A fair generator passes these bounds with a probability above
// 0.99; the seed being fixed, they can only fail if the code changes.
class NormalDrawsTest : public testing::Test {
 protected:
  static constexpr size_t kDraws = 1 << 20;
  static void SetUpTestSuite() {
    draws_.clear();
    for (uint64_t block = 0; block < kDraws / 4; ++block) {
      for (const float normal : NormalsFromWords(
               Philox(CounterOf(NoiseDomain::kInitialValues, block), KeyOfSeed(20240501)))) {
        draws_.push_back(normal);
      }
    }
  }
  static double Mean(double (*of)(double)) {
    double sum = 0;
    for (const double draw : draws_) sum += of(draw);
    return sum / kDraws;
  }
  static inline std::vector<double> draws_;
};

TEST_F(NormalDrawsTest, HaveTheMomentsOfANormal) {
  // Four standard deviations of each sample moment: E x^2k - (E x^k)^2 is 1, 2, 15 and 96.
  const double unit = 4 / std::sqrt(static_cast<double>(kDraws));
  EXPECT_NEAR(Mean([](double x) { return x; }), 0, unit);
  EXPECT_NEAR(Mean([](double x) { return x * x; }), 1, unit * std::sqrt(2.0));
  EXPECT_NEAR(Mean([](double x) { return x * x * x; }), 0, unit * std::sqrt(15.0));
  EXPECT_NEAR(Mean([](double x) { return x * x * x * x; }), 3, unit * std::sqrt(96.0));
}

TEST_F(NormalDrawsTest, FollowTheNormalDistribution) {
  std::vector<double> sorted = draws_;
  std::sort(sorted.begin(), sorted.end());
  double distance = 0;
  for (size_t i = 0; i < kDraws; ++i) {
    const double expected = 0.5 * std::erfc(-sorted[i] / std::numbers::sqrt2);
    distance = std::max({distance, expected - static_cast<double>(i) / kDraws,
                         static_cast<double>(i + 1) / kDraws - expected});
  }
  // Kolmogorov-Smirnov at the level 0.001.
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(kDraws)));
}

TEST_F(NormalDrawsTest, HaveTheTailsOfANormal) {
  for (const double limit : {3.0, 4.0, 4.5}) {
    const double expected = kDraws * std::erfc(limit / std::numbers::sqrt2);
    const auto found =
        std::count_if(draws_.begin(), draws_.end(), [&](double x) { return std::abs(x) > limit; });
    EXPECT_NEAR(static_cast<double>(found), expected, 4 * std::sqrt(expected)) << limit;
  }
}

TEST_F(NormalDrawsTest, AreUncorrelatedWithTheirNeighbours) {
  const double unit = 4 / std::sqrt(static_cast<double>(kDraws));
  for (size_t lag = 1; lag <= 8; ++lag) {
    double products = 0;
    double squares = 0;
    for (size_t i = 0; i + lag < kDraws; ++i) {
      const double x = draws_[i];
      const double y = draws_[i + lag];
      products += x * y;
      squares += (x * x - 1) * (y * y - 1);
    }
    EXPECT_NEAR(products / kDraws, 0, unit) << lag;
    EXPECT_NEAR(squares / kDraws, 0, 2 * unit) << lag;
  }
}

TEST(UniformTest, TakesTheTopBitsAndStaysBelowOne) {
  EXPECT_EQ(UniformFromWord(0), 0.0f);
  EXPECT_EQ(UniformFromWord(0xff), 0.0f);
  EXPECT_EQ(UniformFromWord(0x100), 0x1p-24f);
  EXPECT_EQ(UniformFromWord(0x80000000), 0.5f);
  EXPECT_EQ(UniformFromWord(0xffffffff), 1.0f - 0x1p-24f);
}

TEST(UniformTest, DrawsFollowTheUniformDistribution) {
  constexpr size_t kDraws = 1 << 20;
  std::vector<double> draws;
  for (uint64_t block = 0; block < kDraws / 4; ++block) {
    for (const uint32_t word :
         Philox(CounterOf(NoiseDomain::kInitialValues, block), KeyOfSeed(99))) {
      draws.push_back(UniformFromWord(word));
    }
  }
  std::sort(draws.begin(), draws.end());
  double distance = 0;
  for (size_t i = 0; i < kDraws; ++i) {
    distance = std::max({distance, draws[i] - static_cast<double>(i) / kDraws,
                         static_cast<double>(i + 1) / kDraws - draws[i]});
  }
  EXPECT_LT(distance, 1.95 / std::sqrt(static_cast<double>(kDraws)));
}

}  // namespace
}  // namespace talweg::core
