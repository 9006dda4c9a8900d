// SPDX-License-Identifier: Apache-2.0
#include "core/optimizers/rounding.h"

#include <limits>

#include "gtest/gtest.h"

namespace talweg::core {
namespace {

TEST(RoundingTest, ToFloatIsNearestAndAlwaysFinite) {
  EXPECT_EQ(ToFloat(1 - 0.999), 0.001f);
  EXPECT_EQ(ToFloat(1e300), std::numeric_limits<float>::max());
  EXPECT_EQ(ToFloat(-1e300), std::numeric_limits<float>::lowest());
}

TEST(RoundingTest, ToEpsilonIsNeverZero) {
  EXPECT_EQ(ToEpsilon(1e-8), 1e-8f);
  EXPECT_EQ(ToEpsilon(1e-300), std::numeric_limits<float>::min());
}

}  // namespace
}  // namespace talweg::core
