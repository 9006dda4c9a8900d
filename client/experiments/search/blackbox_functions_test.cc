// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/blackbox_functions.h"

#include <gtest/gtest.h>

#include <vector>

namespace talweg {
namespace {

TEST(BlackboxFunctionsTest, EachIsZeroAtItsMinimumAndAboveElsewhere) {
  for (const size_t d : {2u, 10u, 1000u}) {
    EXPECT_EQ(Rosenbrock(std::vector<float>(d, 1)), 0);
    EXPECT_EQ(Rastrigin(std::vector<float>(d, 0)), 0);
    EXPECT_EQ(StepEllipsoid(std::vector<float>(d, 0.04f)), 0);
    for (const BlackboxFunction& function : BlackboxFunctions()) {
      EXPECT_GT(function.value(std::vector<float>(d, static_cast<float>(function.low))), 1)
          << function.name;
    }
  }
}

TEST(BlackboxFunctionsTest, ValuesAreThoseOfTheFormulas) {
  EXPECT_DOUBLE_EQ(Rosenbrock(std::vector<float>{-1, 2, 0}), 100 * 1 + 4 + 100 * 16 + 1);
  EXPECT_NEAR(Rastrigin(std::vector<float>{0.5f, -2}), 0.25 + 20 + 4, 1e-12);
  // Weights 1, 10 and 100; steps 3, -0.2 and 1.
  EXPECT_NEAR(StepEllipsoid(std::vector<float>{3.4f, -0.18f, 0.7f}), 9 + 10 * 0.04 + 100, 1e-9);
}

}  // namespace
}  // namespace talweg
