// SPDX-License-Identifier: Apache-2.0
#include "core/kernels/expansion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/kernels/exact_testing.h"
#include "gtest/gtest.h"

namespace talweg::core {
namespace {

constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Case {
  std::vector<double> terms;
  double sum;
};

// In every order (up to 5 terms), and of the negated terms.
void ExpectSum(const Case& expected) {
  std::vector<double> terms = expected.terms;
  std::sort(terms.begin(), terms.end());
  do {
    EXPECT_EQ(RoundExact(terms), expected.sum) << std::hexfloat << expected.sum;
    std::vector<double> negated;
    for (const double term : terms) negated.push_back(-term);
    EXPECT_EQ(RoundExact(negated), -expected.sum) << std::hexfloat << expected.sum;
  } while (std::next_permutation(terms.begin(), terms.end()));
}

TEST(ExactSumTest, HalfWayGoesToTheEvenNeighbourUnlessSomethingBelowDecides) {
  ExpectSum({{1, 0x1p-53}, 1});
  ExpectSum({{1, 0x1p-52, 0x1p-53}, 1 + 0x1p-51});
  ExpectSum({{1, 0x1p-53, kSmallest}, 1 + 0x1p-52});
  ExpectSum({{1, 0x1p-53, -kSmallest}, 1});
  ExpectSum({{1, 0x1p-52, 0x1p-53, -kSmallest}, 1 + 0x1p-52});
  ExpectSum({{1, -0x1p-54}, 1});
  ExpectSum({{1, -0x1p-54, -kSmallest}, 1 - 0x1p-53});
  ExpectSum({{1, 0x1p-54, 0x1p-54, 0x1p-1000}, 1 + 0x1p-52});
  // A mantissa of ones that rounds up to the next power of two.
  ExpectSum({{2, -0x1p-52, 0x1p-53}, 2});
}

TEST(ExactSumTest, NothingIsLostHoweverFarApartTheTermsAre) {
  ExpectSum({{1e300, 1, -1e300}, 1});
  ExpectSum({{1e300, 1e-300, -1e300, kSmallest}, 1e-300 + kSmallest});
  ExpectSum({{kLargest, kSmallest, -kLargest}, kSmallest});
  ExpectSum({{kLargest, kLargest, -kLargest, -kLargest, 0.1}, 0.1});
}

TEST(ExactSumTest, ReachesFromTheSmallestToTheLargestDouble) {
  ExpectSum({{kSmallest}, kSmallest});
  ExpectSum({{kSmallest, kSmallest, kSmallest}, 3 * kSmallest});
  ExpectSum({{0x1p-1022, -kSmallest}, 0x1p-1022 - kSmallest});
  ExpectSum({{kLargest}, kLargest});
  // Half of the last place of the largest: the sum is as near to 2^1024 as to it.
  ExpectSum({{kLargest, 0x1p970}, kInfinity});
  ExpectSum({{kLargest, 0x1p970, -kSmallest}, kLargest});
  ExpectSum({{kLargest, kLargest}, kInfinity});
  for (int exponent = -1074; exponent < 1024; ++exponent) {
    const double power = std::ldexp(1.0, exponent);
    EXPECT_EQ(RoundExact({power}), power);
    EXPECT_EQ(RoundExact({-power, kSmallest, -kSmallest}), -power);
  }
}

TEST(ExactSumTest, ASumOfZeroIsPositiveZero) {
  for (const std::vector<double>& terms : std::vector<std::vector<double>>{
           {}, {0.0}, {-0.0}, {-0.0, -0.0}, {1, -1}, {-kSmallest, kSmallest}, {0.1, -0.1, -0.0}}) {
    EXPECT_EQ(RoundExact(terms), 0);
    EXPECT_FALSE(std::signbit(RoundExact(terms)));
  }
}

TEST(ExactSumTest, NothingFiniteComesAfterWhatIsNot) {
  for (const double bad : {kInfinity, -kInfinity, kNaN, -kNaN}) {
    ExactSum sum;
    sum.Add(1);
    sum.Add(bad);
    sum.Add(-bad);
    sum.Add(1);
    EXPECT_TRUE(std::isnan(sum.Value())) << bad;
    EXPECT_TRUE(std::isnan(RoundExact({bad}))) << bad;
  }
}

TEST(ExactSumTest, AgreesWithShewchuksExpansionsInAnyOrder) {
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    std::mt19937_64 random(seed);
    const int span = std::vector{4, 60, 200, 900}[seed % 4];
    std::vector<double> terms(1 + random() % 24);
    for (double& term : terms) {
      // Few bits and many, so that ties happen.
      const double mantissa = static_cast<double>(random() >> (random() % 2 == 0 ? 11 : 61));
      term = std::ldexp(mantissa, static_cast<int>(random() % static_cast<uint64_t>(span)) - span);
      if (random() % 2 == 0) term = -term;
      if (random() % 8 == 0) term = -terms[random() % terms.size()];
    }
    const double expected = ReferenceSum(terms);
    ExactSum sum;
    for (const double term : terms) sum.Add(term);
    ASSERT_EQ(sum.Value(), expected) << "seed " << seed;
    std::shuffle(terms.begin(), terms.end(), random);
    ASSERT_EQ(RoundExact(terms), expected) << "seed " << seed;
  }
}

TEST(ExactSumTest, AValueMayBeAskedForOnTheWay) {
  ExactSum sum;
  for (int i = 1; i <= 100; ++i) {
    sum.Add(-0x1.fffffffffffffp+40);
    sum.Add(0x1p-40);
    EXPECT_EQ(sum.Value(), ReferenceSum({-0x1.fffffffffffffp+40 * i, 0x1p-40 * i}));
  }
}

TEST(ExactSumTest, MillionsOfNumbersCarry) {
  ExactSum up, down;
  for (int i = 0; i < 3000000; ++i) {
    up.Add(0x1.fffffffffffffp+7);
    down.Add(i % 3 == 0 ? 0x1p60 : -0x1.fffffffffffffp+59);
  }
  // n (2^8 - 2^-45), and n/3 2^60 - 2n/3 (2^60 - 2^7).
  EXPECT_EQ(up.Value(), ReferenceSum({3e6 * 0x1p8, -3e6 * 0x1p-45}));
  EXPECT_EQ(down.Value(), ReferenceSum({1e6 * 0x1p60, -2e6 * 0x1p60, 2e6 * 0x1p7}));
}

}  // namespace
}  // namespace talweg::core
