// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/power_law.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace talweg {
namespace {

TEST(PowerLawTest, FindsTheSlopeInsideTheWindowAlone) {
  std::vector<double> values;
  for (int t = 1; t <= 1000; ++t) values.push_back(t < 100 ? 7 : 3 * std::pow(t, -1.5));
  const PowerLaw fit = FitPowerLaw(values, 100, 1000);
  EXPECT_NEAR(fit.slope, -1.5, 1e-9);
  EXPECT_NEAR(fit.factor, 3, 1e-9);
  EXPECT_NEAR(fit(200), 3 * std::pow(200, -1.5), 1e-12);
}

TEST(PowerLawTest, EveryDecadeCountsAlike) {
  // Slope -1 in the first decade, -3 in the second. With 1/t as weight the fit lies half-way; least
  // squares over all points alike would give the second decade ten votes.
  std::vector<double> values;
  for (int t = 1; t <= 10000; ++t) {
    values.push_back(t <= 100 ? 1.0 / t : 1e4 / (1.0 * t * t * t));
  }
  EXPECT_NEAR(FitPowerLaw(values, 1, 10000).slope, -2, 0.15);
}

}  // namespace
}  // namespace talweg
