// SPDX-License-Identifier: Apache-2.0
//
// What the search experiments make of their numbers, and what they expect of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "client/experiments/search/blackbox.h"
#include "client/experiments/search/directional_derivative.h"
#include "client/experiments/search/fit_exponent.h"
#include "client/experiments/search/low_rank.h"
#include "client/experiments/search/mnist_es.h"
#include "client/experiments/search/mnist_search.h"
#include "client/experiments/search/random_search.h"
#include "client/experiments/search/random_search_rate.h"

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

TEST(MnistEsTest, TheLegendCountsTheSeedsThatShareAColour) {
  const auto legend_of = [](std::vector<MnistEsRun> runs) {
    const std::string folder = ::testing::TempDir() + "mnist_es_legend";
    const ReportWriter report = MnistEsReport(folder, runs);
    EXPECT_TRUE(report.Write().ok());
    std::ifstream file(report.PathOf("loss_updates"));
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string twice = legend_of({Figure(0, 0.88), Figure(1600, 0.85), Figure(0, 0.87)});
  EXPECT_THAT(twice, HasSubstr(" evaluations), 2 seeds</text>"));
  EXPECT_THAT(twice, HasSubstr(" evaluations) per update</text>"));
  EXPECT_THAT(legend_of({Figure(0, 0.88)}), Not(HasSubstr("seed")));
}

TEST(FitExponentTest, FindsTheExponentOfAPowerLaw) {
  EXPECT_NEAR(FitExponent({1, 2, 4, 16}, {3, 12, 48, 768}), 2, 1e-12);
  EXPECT_NEAR(FitExponent({1, 100}, {5, 0.5}), -0.5, 1e-12);
}

TEST(RandomSearchRateTest, SweepsFitTheNumberThatVaries) {
  RateSweep sweep = {"d", 0.5, {}};
  for (const uint64_t d : {63u, 255u, 1023u}) {
    RatePoint point = {d, 1, 1600, 0};
    point.error = std::sqrt(static_cast<double>(d)) / 100;
    sweep.points.push_back(point);
  }
  EXPECT_NEAR(sweep.points[0].bound(), std::sqrt(65.0 / 1600), 1e-12);
  EXPECT_NEAR(sweep.Exponent(), 0.5, 1e-12);
  EXPECT_NEAR(sweep.BoundExponent(), 0.5, 0.01);
  const std::vector<RateSweep> sweeps = {sweep};
  EXPECT_THAT(RandomSearchRateReport("out", sweeps).table(), HasSubstr("agrees within 1 %"));
}

TEST(DirectionalDerivativeTest, BothSidesOfTheMinimumAreFitted) {
  DifferenceErrors errors = {"central", 2, {}, {}};
  for (int i = -24; i <= 0; ++i) {
    const double sigma = std::pow(10, i / 4.0);
    errors.sigmas.push_back(sigma);
    errors.errors.push_back(1e-8 / sigma + 10 * sigma * sigma);
  }
  EXPECT_NEAR(std::log10(errors.sigmas[errors.Best()]), -3, 0.3);
  EXPECT_NEAR(errors.LowExponent(), -1, 0.05);
  EXPECT_NEAR(errors.HighExponent(), 2, 0.05);
  const std::vector<DifferenceErrors> all = {errors};
  const std::vector<DifferenceSearch> searches = {{"directional", 0, 0.5, 0.8, 0},
                                                  {"central", 0.001, 0.5, 0.8, 0.02}};
  const ReportWriter report = DirectionalDerivativeReport("out", all, searches);
  EXPECT_THAT(report.table(), HasSubstr("exact"));
  EXPECT_THAT(report.Json(), HasSubstr("\"sigma\": null"));
}

MnistSearchRun SearchRun(const std::string& name, double seconds) {
  MnistSearchRun run;
  run.search.name = name;
  run.search.widths = {784, 32, 10};
  run.search.learning_rate = 10;
  run.search.num_steps = 20;
  run.search.policy.set_sigma(0.1);
  run.search.policy.set_num_pairs(50);
  run.points = {
      {0, 0, 0, 2.3, 0.1}, {10, 1000, seconds / 2, 1, 0.5}, {20, 2000, seconds, 0.5, 0.8}};
  return run;
}

TEST(MnistSearchTest, AGenerationCountsAllItsEvaluations) {
  v1::SearchPolicy policy;
  policy.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  policy.set_num_pairs(100);
  EXPECT_EQ(EvaluationsOfGeneration(policy), 200u);
  policy.set_differences(v1::DIFFERENCES_ONE_SIDED);
  EXPECT_EQ(EvaluationsOfGeneration(policy), 100u);
  policy.set_baseline(v1::BASELINE_EVALUATED);
  EXPECT_EQ(EvaluationsOfGeneration(policy), 101u);
  policy.Clear();
  policy.set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  policy.set_num_pairs(15);
  EXPECT_EQ(EvaluationsOfGeneration(policy), 16u);
  policy.set_acceptance(v1::ACCEPTANCE_LOSS_WEIGHTED);
  EXPECT_EQ(EvaluationsOfGeneration(policy), 15u);
}

TEST(MnistSearchTest, AccuracyAtATimeLiesBetweenTheTests) {
  const MnistSearchRun run = SearchRun("dense", 8);
  EXPECT_DOUBLE_EQ(run.AccuracyAt(4), 0.5);
  EXPECT_DOUBLE_EQ(run.AccuracyAt(6), 0.65);
  EXPECT_DOUBLE_EQ(run.AccuracyAt(100), 0.8);
}

TEST(MnistSearchTest, LowRankIsComparedAtTheTimeOfTheFastest) {
  const std::vector<MnistSearchRun> runs = {SearchRun("dense", 8), SearchRun("rank 1", 4)};
  const std::string table = LowRankReport("out", runs).table();
  EXPECT_THAT(table, HasSubstr("after 4.0 s"));
  EXPECT_THAT(table, HasSubstr("50.00 %"));
  EXPECT_THAT(RandomSearchReport("out", runs).table(), HasSubstr("0.1"));  // the rate
}

TEST(BlackboxTest, TheReportCountsUntilAHundredthIsLeft) {
  BlackboxRun run = {"rastrigin", "Rastrigin",     "evolution_strategy", 10, 16, 0.5,
                     0.01,        {0, 32, 64, 96}, {100, 10, 1, 0.1}};
  BlackboxRun other = run;
  other.method = "random_search";
  other.values = {100, 90, 80, 70};
  const std::vector<BlackboxRun> runs = {run, other};
  const ReportWriter report = BlackboxReport("out", runs);
  EXPECT_THAT(report.Json(), HasSubstr("\"evaluations_to_hundredth\": 64"));
  EXPECT_THAT(report.Json(), HasSubstr("\"evaluations_to_hundredth\": null"));
  EXPECT_EQ(report.PathOf("rastrigin"), "out/rastrigin.svg");
  EXPECT_THAT(report.table(), Not(HasSubstr("too few")));
  EXPECT_THAT(BlackboxReport("out", runs, /*quick=*/true).table(), HasSubstr("too few for ES"));
}

}  // namespace
}  // namespace talweg
