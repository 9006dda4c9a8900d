// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/path_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PathPlotTest, EachPanelHasItsLevelLinesPathsAndCross) {
  PathPanel whole;
  whole.title = "whole";
  PathPanel zoom = {"zoom", 0.5, 1, 0.5, 1, 2, true};
  const std::string svg = PathPlotSvg(
      {"A valley", "along", "across"}, {whole, zoom}, {{0, 0, 1, 0.5}, {0, 0, 0.5, 0.25}},
      {{"slow", {1, 0.9, 0.8}, {1, 0, 1}}, {"fast", {1, 0.5}, {1, 0.5}}}, 0, 0);
  EXPECT_EQ(Count(svg, "<clipPath"), 2u);
  EXPECT_EQ(Count(svg, "<ellipse"), 4u);
  EXPECT_EQ(Count(svg, "<path"), 4u);
  EXPECT_EQ(Count(svg, "<circle"), 4u);  // two points of each path, in the second panel
  EXPECT_EQ(Count(svg, ">slow</text>"), 1u);
  EXPECT_EQ(Count(svg, ">fast</text>"), 1u);
  EXPECT_THAT(svg, HasSubstr(">A valley</text>"));
  EXPECT_THAT(svg, HasSubstr(">zoom</text>"));
  // From (1, 1) in the top right corner of the first panel: [78, 836] x [78, 378].
  EXPECT_THAT(svg, HasSubstr("M836.0 78.0L760.2 378.0L684.4 78.0"));
  // A radius of 1 along and 0.5 across.
  EXPECT_THAT(svg, HasSubstr("rx=\"758.0\" ry=\"150.0\""));
}

TEST(PathPlotTest, APathThatLeavesForGoodEnds) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::string svg = PathPlotSvg({}, {PathPanel{}}, {},
                                      {{"a", {0.5, 1e30, inf, 0.5}, {0.5, -1e30, inf, 0.5}}}, 0, 0);
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, HasSubstr("L100000.0 100000.0\""));
}

}  // namespace
}  // namespace talweg
