// SPDX-License-Identifier: Apache-2.0
//
// What the search experiments make of their numbers, and what they expect of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "client/experiments/search/mnist_es.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

MnistEsRun Figure(uint64_t pairs, double accuracy) {
  MnistEsRun run;
  run.num_pairs = pairs;
  run.seed = 3;
  run.widths = {784, 512, 512, 10};
  run.num_steps = 100;
  run.points = {{0, 0, 2.4, 2.3, 0.1}, {1, 4, 2, kNaN, kNaN}, {100, 300, kNaN, 0.5, accuracy}};
  run.first_cosine = pairs == 0 ? kNaN : 0.9 * run.expected_cosine() + 1e-9;
  return run;
}

TEST(MnistEsTest, TheCosineIsThatOfTheoryForTheNumbersOfTheFigure) {
  EXPECT_EQ(Figure(1600, 0).num_parameters(), 669706u);
  EXPECT_NEAR(Figure(1600, 0).expected_cosine(), 0.0488, 5e-5);
  EXPECT_NEAR(Figure(5000, 0).expected_cosine(), 0.0861, 5e-5);
  MnistEsRun run = Figure(1600, 0);
  EXPECT_TRUE(run.cosine_fits());
  run.first_cosine = 0.89 * run.expected_cosine();
  EXPECT_FALSE(run.cosine_fits());
  EXPECT_DOUBLE_EQ(Cosine({1, 2, 2}, {2, 4, 4}), 1);
  EXPECT_DOUBLE_EQ(Cosine({3, 4}, {-4, 3}), 0);
  EXPECT_DOUBLE_EQ(Cosine({3, 4}, {0, 0}), 0);
}

TEST(MnistEsTest, ASampleIsTwoEvaluationsAndAGradientThree) {
  EXPECT_EQ(Figure(1600, 0).evaluations(), 3200u);
  EXPECT_EQ(Figure(0, 0).evaluations(), 3u);
}

TEST(MnistEsTest, OnlyTheFigureItselfHasBands) {
  EXPECT_TRUE(BandOf(Figure(0, 0)).has_value());
  EXPECT_EQ(BandOf(Figure(1600, 0))->high, 0.88);
  EXPECT_FALSE(BandOf(Figure(1700, 0)).has_value());
  MnistEsRun run = Figure(1600, 0);
  run.num_steps = 99;
  EXPECT_FALSE(BandOf(run).has_value());
  run = Figure(1600, 0);
  run.widths = {784, 32, 10};
  EXPECT_FALSE(BandOf(run).has_value());
}

TEST(MnistEsTest, TheReportSaysWhatASampleIsAndWhichBandsHold) {
  const std::vector<MnistEsRun> runs = {Figure(0, 0.88), Figure(1600, 0.885), Figure(5000, 0.89)};
  const ReportWriter report = MnistEsReport("out", runs);
  EXPECT_THAT(report.table(), HasSubstr("A sample is a pair"));
  EXPECT_THAT(report.table(), HasSubstr("87 - 90 %: inside"));
  EXPECT_THAT(report.table(), HasSubstr("83 - 88 %: OUTSIDE"));
  EXPECT_THAT(report.table(), HasSubstr("88 - 90 %: inside"));
  EXPECT_THAT(report.table(), HasSubstr("1,000,000"));  // evaluations of 5,000 pairs
  const std::string json = report.Json();
  EXPECT_THAT(json, HasSubstr("\"method\": \"backpropagation\", \"pairs\": 0, \"seed\": 3"));
  EXPECT_THAT(json, HasSubstr("\"first_cosine\": null"));
  EXPECT_THAT(json, Not(HasSubstr("nan")));
  for (const char* file : {"loss_updates", "accuracy_updates", "loss_evaluations",
                           "accuracy_evaluations", "curves", "summary"}) {
    EXPECT_THAT(report.PathOf(file), HasSubstr("out/"));
  }
}

}  // namespace
}  // namespace talweg
