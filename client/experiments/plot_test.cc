// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace talweg {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlotTest, TicksAreRoundNumbersInside) {
  EXPECT_THAT(LinearTicks(0, 5, 8), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_FALSE(std::signbit(LinearTicks(0, 5, 8)[0]));
  EXPECT_THAT(LinearTicks(0.25, 1, 4), ElementsAre(DoubleNear(0.4, 1e-12), DoubleNear(0.6, 1e-12),
                                                   DoubleNear(0.8, 1e-12), DoubleNear(1.0, 1e-12)));
  EXPECT_THAT(LogTicks(0.04, 3), ElementsAre(DoubleNear(0.05, 1e-12), DoubleNear(0.1, 1e-12),
                                             DoubleNear(0.2, 1e-12), DoubleNear(0.5, 1e-12), 1, 2));
  EXPECT_EQ(LogTicks(1e-4, 10).size(), 6u);
}

TEST(PlotTest, SmoothingStartsAtTheFirstValueAndForgets) {
  EXPECT_THAT(Smooth({4, 4, 4}, 10),
              ElementsAre(DoubleNear(4, 1e-12), DoubleNear(4, 1e-12), DoubleNear(4, 1e-12)));
  // Keep 1/2: (4/2 + 1) / (1/2 + 1).
  EXPECT_THAT(Smooth({4, 1}, 2), ElementsAre(4, 2));
  EXPECT_THAT(Smooth({4, 1}, 1), ElementsAre(4, 1));
}

TEST(PlotTest, DrawsEveryCurveWithItsName) {
  const std::string svg = PlotSvg({"Loss & <more>", "epochs", "loss"},
                                  {{"adam", {0, 1, 2}, {1, 0.1, 0.01}}, {"sgd", {0, 2}, {1, 0.5}}});
  EXPECT_THAT(svg, HasSubstr("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr(" role=\"img\">\n<title>Loss &amp; &lt;more&gt;</title>"));
  EXPECT_THAT(svg, HasSubstr(">Loss &amp; &lt;more&gt;</text>"));
  EXPECT_THAT(svg, HasSubstr(">adam</text>"));
  EXPECT_THAT(svg, HasSubstr(">sgd</text>"));
  EXPECT_EQ(Count(svg, "<path"), 2u);
  EXPECT_EQ(Count(svg, "M"), 2u);  // two lines, no gap
  EXPECT_THAT(svg, HasSubstr(">0.1</text>"));
}

TEST(PlotTest, WhatHasNoLogarithmLeavesAGap) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::string svg = PlotSvg({}, {{"a", {0, 1, 2, 3}, {1, inf, 0.5, 0.25}}});
  EXPECT_EQ(Count(svg, "M"), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(PlotSvg({}, {{"none", {}, {}}}), Not(HasSubstr("nan")));
  EXPECT_THAT(PlotSvg({}, {{"one", {1}, {1}}}), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace talweg
