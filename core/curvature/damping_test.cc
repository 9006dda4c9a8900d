// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/damping.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(DampingTest, PiIsTheRootOfTheQuotientOfTheMeanEigenvalues) {
  EXPECT_DOUBLE_EQ(PiOf(PiRule::kTrace, {2 * 3, 3}, {5 * 7, 7}), std::sqrt(2.0 / 5));
  EXPECT_DOUBLE_EQ(PiOf(PiRule::kTrace, {11.5, 4}, {0.75, 2}), std::sqrt(11.5 / 4 / (0.75 / 2)));
  EXPECT_EQ(PiOf(PiRule::kOff, {11.5, 4}, {0.75, 2}), 1);
}

TEST(DampingTest, AFactorWithoutSizeIsNotBalanced) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double trace : {0.0, -1.0, kNan, HUGE_VAL}) {
    EXPECT_EQ(PiOf(PiRule::kTrace, {trace, 3}, {2, 2}), 1) << trace;
    EXPECT_EQ(PiOf(PiRule::kTrace, {2, 2}, {trace, 3}), 1) << trace;
  }
}

TEST(DampingTest, NoFactorIsLeftWithoutDamping) {
  EXPECT_EQ(PiOf(PiRule::kTrace, {1e300, 1}, {1e-300, 1}), 0x1p20);
  EXPECT_EQ(PiOf(PiRule::kTrace, {1e-300, 1}, {1e300, 1}), 0x1p-20);
}

// (A + pi sqrt(lambda) I) (x) (S + sqrt(lambda) / pi I): the product of what is added is lambda.
TEST(DampingTest, TheSharesMultiplyToLambda) {
  for (const double lambda : {0.0, 1e-12, 0.03, 3.0, 1e6}) {
    for (const double pi : {1.0, 0.2, 40.0}) {
      const FactorDamping share = ShareDamping(lambda, pi);
      EXPECT_DOUBLE_EQ(share.inputs * share.outputs, lambda);
      EXPECT_DOUBLE_EQ(share.inputs, share.outputs * pi * pi);
    }
  }
}

}  // namespace
}  // namespace talweg::core
