// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/exact_number.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tests/simulation/random.h"

namespace talweg::simulation {
namespace {

double Sum(std::initializer_list<double> terms) {
  ExactNumber number;
  for (const double term : terms) number.Add(term);
  return number.Value();
}

TEST(ExactNumberTest, OneNumberIsItself) {
  for (const double x :
       {0.0, 1.0, -1.0, 0.1, 1e300, -1e-300, 0x1p-1074, -0x1.8p-1060, 1.7976931348623157e308}) {
    EXPECT_EQ(Sum({x}), x);
  }
}

TEST(ExactNumberTest, NothingIsLostAndAllOfItCancels) {
  EXPECT_EQ(Sum({0x1p900, 1, -0x1p900}), 1);
  EXPECT_EQ(Sum({0x1p-1074, 1e308, -1e308, -0x1p-1074}), 0);
  EXPECT_EQ(Sum({-1, 0x1p-1000, 1}), 0x1p-1000);
  EXPECT_EQ(Sum({1e308, 1e308, -1e308}), 1e308);
}

TEST(ExactNumberTest, RoundsOnceToTheNearestAndTiesToEven) {
  const double above = 1 + 0x1p-52;
  EXPECT_EQ(Sum({1, 0x1p-53}), 1);
  EXPECT_EQ(Sum({1, 0x1p-53, 0x1p-200}), above);
  EXPECT_EQ(Sum({above, 0x1p-53}), 1 + 0x1p-51);
  EXPECT_EQ(Sum({above, 0x1p-53, -0x1p-200}), above);
  EXPECT_EQ(Sum({-1, -0x1p-53, -0x1p-200}), -above);
}

TEST(ExactNumberTest, NoOrderMakesADifference) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> terms;
    for (int term = 0; term < 20; ++term) {
      terms.push_back(
          std::ldexp(random.Between(-1, 1), static_cast<int>(random.Whole(0, 140)) - 70));
    }
    ExactNumber forward, backward;
    for (const double term : terms) forward.Add(term);
    for (size_t place = terms.size(); place-- > 0;) backward.Add(terms[place]);
    EXPECT_EQ(forward.Value(), backward.Value());
  }
}

}  // namespace
}  // namespace talweg::simulation
