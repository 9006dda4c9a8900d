// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "client/experiments/plots/svg.h"

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
  EXPECT_EQ(LogTicks(1e-5, 10).size(), 7u);  // powers of ten
  // A range of less than a decade.
  EXPECT_THAT(LogTicks(0.65, 2.4), ElementsAre(1, 2));
  EXPECT_THAT(LogTicks(0.65, 2.4, 4), ElementsAre(DoubleNear(0.7, 1e-12), DoubleNear(0.8, 1e-12),
                                                  DoubleNear(0.9, 1e-12), 1, 2));
  EXPECT_THAT(LogTicks(0.5, 0.57, 4).size(), ::testing::Ge(6u));
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

TEST(PlotTest, ALinearAxisShowsWhatHasNoLogarithm) {
  PlotText text;
  text.linear_y = true;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg = PlotSvg(text, {{"a", {0, 1, 2, 3, 4}, {0, -10, nan, 20, 30}}});
  EXPECT_EQ(Count(svg, "M"), 2u);
  EXPECT_THAT(svg, HasSubstr(">-10</text>"));
  EXPECT_THAT(svg, HasSubstr(">0</text>"));
  EXPECT_THAT(svg, HasSubstr(">30</text>"));
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

TEST(PlotTest, ZeroLiesOnALogarithmicAxisWithATickOfItsOwn) {
  const std::string svg = PlotSvg({"", "", "loss"}, {{"a", {0, 1, 2, 3}, {1, 0, 0.5, 0}}});
  EXPECT_EQ(Count(svg, "M"), 1u);  // one line without a gap
  EXPECT_EQ(Count(svg, " 438.0L"), 1u);
  EXPECT_THAT(svg, HasSubstr("L836.0 438.0\""));
  EXPECT_THAT(svg, HasSubstr(">0</text>"));
  // No value is above 0, and the places are still those of the points.
  EXPECT_THAT(PlotSvg({}, {{"zeros", {0, 5}, {0, 0}}}), HasSubstr("M78.0 438.0L836.0 438.0"));
}

TEST(PlotTest, TheLabelOfALogarithmicAxisSaysSo) {
  PlotText text = {"", "steps", "loss"};
  const std::vector<Curve> curves = {{"a", {1, 10}, {1, 0.1}}};
  EXPECT_THAT(PlotSvg(text, curves), HasSubstr(">loss (log scale)</text>"));
  EXPECT_THAT(PlotSvg(text, curves), HasSubstr(">steps</text>"));
  text.log_x = true;
  text.linear_y = true;
  EXPECT_THAT(PlotSvg(text, curves), HasSubstr(">loss</text>"));
  EXPECT_THAT(PlotSvg(text, curves), HasSubstr(">steps (log scale)</text>"));
}

TEST(PlotTest, BothAxesMayBeLogarithmic) {
  PlotText text;
  text.log_x = true;
  const std::string svg = PlotSvg(text, {{"a", {0, 1, 10, 100}, {1, 1, 0.1, 0.01}}});
  EXPECT_EQ(Count(svg, "M"), 1u);
  // Each decade as wide as the other, from 78 to 836; what has no logarithm is left out.
  EXPECT_THAT(svg, HasSubstr("M78.0 "));
  EXPECT_THAT(svg, HasSubstr("L457.0 "));
  EXPECT_THAT(svg, HasSubstr("L836.0 "));
  EXPECT_THAT(svg, HasSubstr(">100</text>"));
}

TEST(PlotTest, LinesMayBeDashedShareAColourAndStayOutOfTheLegend) {
  Curve fit = {"", {1, 2}, {1, 0.5}};
  fit.dashed = true;
  fit.colour = 0;
  const std::string svg = PlotSvg({}, {{"a", {1, 2}, {1, 0.5}}, fit});
  EXPECT_EQ(Count(svg, "stroke=\"#0072B2\""), 3u);  // two curves, one row of the legend
  EXPECT_EQ(Count(svg, "stroke-dasharray"), 1u);
}

TEST(PlotTest, TheLegendHidesNothing) {
  // Falling: the top right corner is free, at 836 - 8 - 64 in x.
  EXPECT_THAT(PlotSvg({}, {{"a", {0, 10}, {1, 0.1}}}), HasSubstr("<rect x=\"764.0\" y=\"64.0\""));
  // Something in every corner: it stands below.
  const std::string full = PlotSvg({}, {{"a", {0, 10}, {1, 1}}, {"b", {0, 10}, {0.1, 0.1}}});
  EXPECT_THAT(full, HasSubstr("<rect x=\"78.0\" y=\"500.0\""));
  EXPECT_THAT(full, HasSubstr("height=\"564\""));
}

TEST(PlotTest, TicksReadAsAPersonWritesThem) {
  EXPECT_EQ(svg::TickText(0), "0");
  EXPECT_EQ(svg::TickText(0.5), "0.5");
  EXPECT_EQ(svg::TickText(0.001), "0.001");
  EXPECT_EQ(svg::TickText(1e-4), "10⁻⁴");
  EXPECT_EQ(svg::TickText(1e12), "10¹²");
  EXPECT_EQ(svg::TickText(10000), "10000");
  EXPECT_EQ(svg::TickText(-0.02), "-0.02");
}

TEST(PlotTest, MarksTheValuesItIsTold) {
  PlotText text = {"t", "x", "y"};
  text.log_x = true;
  text.x_ticks = {1, 4, 16};
  const std::string svg = PlotSvg(text, {{"a", {1, 4, 16}, {3, 2, 1}}});
  EXPECT_THAT(svg, HasSubstr(">16</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">10</text>")));
}

TEST(PlotTest, DotsStandAtThePointsThatCanBeDrawn) {
  Curve curve = {"a", {1, 2, 3}, {3, -1, 1}};
  const auto count = [&] { return Count(PlotSvg({"t", "x", "y"}, {curve}), "<circle"); };
  EXPECT_EQ(count(), 0u);
  curve.dots = true;
  EXPECT_EQ(count(), 2u);
}

}  // namespace
}  // namespace talweg
