// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/chart.h"

#include <gtest/gtest.h>

#include <limits>

namespace talweg {
namespace {

std::vector<ChartPoint> PointsOf(const std::vector<double>& values) {
  std::vector<ChartPoint> points;
  for (const double value : values) points.push_back({static_cast<double>(points.size()), value});
  return points;
}

using Rows = std::vector<std::string>;

TEST(ChartTest, LowestIsAnEighthAndHighestIsFull) {
  const ChartColumns columns = ColumnsOf(PointsOf({0, 1, 2, 3, 4, 5, 6, 7}), 8);
  EXPECT_EQ(columns.low, 0);
  EXPECT_EQ(columns.high, 7);
  EXPECT_EQ(DrawChart(columns, 1), (Rows{"▁▂▃▄▅▆▇█"}));
}

TEST(ChartTest, RowsStandOnEachOther) {
  EXPECT_EQ(DrawChart(ColumnsOf(PointsOf({15, 0, 8, 15}), 4), 2), (Rows{"█ ▁█", "█▁██"}));
}

TEST(ChartTest, ColumnsAverageTheirShareOfThePlaces) {
  // Places 0 to 10 on two columns: the first has 1 and 3, the second 10 alone.
  const std::vector<ChartPoint> points = {{0, 1}, {4, 3}, {10, 10}};
  const ChartColumns columns = ColumnsOf(points, 2);
  EXPECT_EQ(columns.values, (std::vector<double>{2, 10}));
}

TEST(ChartTest, AColumnWithoutAPointGoesOn) {
  const std::vector<ChartPoint> points = {{0, 1}, {1, 1}, {2, 1}, {100, 9}};
  EXPECT_EQ(ColumnsOf(points, 4).values, (std::vector<double>{1, 1, 1, 9}));
}

TEST(ChartTest, FewPointsAreNotStretchedAndOneIsAColumn) {
  EXPECT_EQ(ColumnsOf(PointsOf({1, 2}), 80).values, (std::vector<double>{1, 2}));
  EXPECT_EQ(DrawChart(ColumnsOf(PointsOf({3}), 80), 1), (Rows{"▅"}));
}

TEST(ChartTest, WhatIsNotFiniteIsPassedOver) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(ColumnsOf(PointsOf({nan, 1, infinity, 2}), 8).values, (std::vector<double>{1, 2}));
  EXPECT_TRUE(ColumnsOf(PointsOf({nan}), 8).values.empty());
  EXPECT_EQ(DrawChart(ColumnsOf({}, 8), 2), (Rows{"", ""}));
}

TEST(ChartTest, TheLargestNumbersThereAreStillHaveAnExtent) {
  const double most = std::numeric_limits<double>::max();
  EXPECT_EQ(DrawChart(ColumnsOf(PointsOf({-most, most}), 2), 1), (Rows{"▁█"}));
}

}  // namespace
}  // namespace talweg
