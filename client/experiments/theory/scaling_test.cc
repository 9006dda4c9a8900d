// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "client/cpp/talweg/fake_transport.h"
#include "client/experiments/theory/noisy_valley.h"
#include "client/experiments/theory/quadratic.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMany = 1000000;

TEST(NoisyValleyTest, WithoutNoiseItIsGradientDescent) {
  const NoisyValley valley = {{1.0, 0.25}, 0};
  // (1 - 0.5 h)^2t of each half loss h / 2: after 3 steps 0.5 * 0.5^6 + 0.125 * 0.875^6.
  const double after_3 = (0.5 * std::pow(0.5, 6) + 0.125 * std::pow(0.875, 6)) / valley.FirstLoss();
  EXPECT_EQ(ExpectedSteps(valley, {1, 0}, 0.5, after_3 * 1.0001, kMany), 3u);
  EXPECT_EQ(ExpectedSteps(valley, {1, 0}, 0.5, after_3 * 0.9999, kMany), 4u);
  EXPECT_EQ(ExpectedSteps(valley, {1, 0}, 0.5, 1, kMany), 0u);
}

TEST(NoisyValleyTest, AFloorThatTheNoiseKeepsIsNeverPassed) {
  // E x^2 -> a s / (2 - a h) with one h = 1: for a = 0.5, s = 0.3 a tenth, so f = 0.05 of 0.5.
  const NoisyValley valley = {{1.0}, 0.3};
  EXPECT_LT(ExpectedSteps(valley, {1, 0}, 0.5, 0.11, kMany), 100u);
  EXPECT_EQ(ExpectedSteps(valley, {1, 0}, 0.5, 0.09, 10000), 10000u);
  // Two gradients averaged halve it.
  EXPECT_LT(ExpectedSteps(valley, {2, 0}, 0.5, 0.09, 10000), 100u);
}

TEST(NoisyValleyTest, TheRecursionIsWhatALateDescentDoesOnAverage) {
  constexpr uint64_t kDelay = 3;
  constexpr double kRate = 0.2;
  constexpr int kRuns = 4000;
  constexpr int kSteps = 40;
  const NoisyValley valley = {{1.0}, 0.05};
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(0, std::sqrt(0.05));
  std::vector<double> losses(kSteps + 1);
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> x = {1};
    for (int t = 0; t < kSteps; ++t) {
      const double gradient = x[std::max<int>(t - kDelay, 0)] + normal(random);
      x.push_back(x.back() - kRate * gradient);
    }
    for (int t = 0; t <= kSteps; ++t) losses[t] += x[t] * x[t] / 2 / kRuns;
  }
  // At the step at which theory has a tenth of the first loss, the runs have it too, and not
  // before.
  const uint64_t steps = ExpectedSteps(valley, {1, kDelay}, kRate, 0.1, kMany);
  ASSERT_LT(steps, kSteps);
  EXPECT_LT(losses[steps], 0.05 * 1.15);
  EXPECT_GT(losses[steps - 1], 0.05 * 0.9);
}

TEST(NoisyValleyTest, LateGradientsAreStableUpToTheBoundAndNotBeyond) {
  // Several curvatures: one alone swings through its minimum.
  const NoisyValley valley = {{1.0, 0.998, 0.996, 0.994}, 0};
  for (const uint64_t delay : {0, 1, 3, 31}) {
    const double bound = 2 * std::sin(std::acos(-1.0) / (2 * (2 * static_cast<double>(delay) + 1)));
    EXPECT_LT(ExpectedSteps(valley, {1, delay}, 0.95 * bound, 1e-6, kMany), kMany) << delay;
    EXPECT_EQ(ExpectedSteps(valley, {1, delay}, 1.05 * bound, 1e-6, kMany), kMany) << delay;
  }
}

TEST(NoisyValleyTest, WhereNoiseDecidesBothWaysAreNTimesAsFast) {
  const NoisyValley valley = {LogSpaced(0.01, 1, 64), 1};
  const double alone = static_cast<double>(TuneRate(valley, {1, 0}, 0.01, kMany).steps);
  const TunedRate averaged = TuneRate(valley, {8, 0}, 0.01, kMany);
  const TunedRate in_turn = TuneRate(valley, {1, 7}, 0.01, kMany);
  EXPECT_NEAR(alone / static_cast<double>(averaged.steps), 8, 0.5);
  EXPECT_NEAR(alone / (static_cast<double>(in_turn.steps) / 8), 8, 0.8);
  // The one by a rate that is 8 times as large, the other with the same.
  EXPECT_NEAR(averaged.rate / TuneRate(valley, {1, 0}, 0.01, kMany).rate, 8, 1);
  EXPECT_NEAR(in_turn.rate / TuneRate(valley, {1, 0}, 0.01, kMany).rate, 1, 0.2);
}

TEST(NoisyValleyTest, WhereCurvatureDecidesNeitherGetsMuchFaster) {
  const NoisyValley valley = {LogSpaced(0.01, 1, 64), 0.001};
  const double alone = static_cast<double>(TuneRate(valley, {1, 0}, 0.01, kMany).steps);
  EXPECT_LT(alone / static_cast<double>(TuneRate(valley, {16, 0}, 0.01, kMany).steps), 1.6);
  EXPECT_LT(alone / (static_cast<double>(TuneRate(valley, {1, 15}, 0.01, kMany).steps) / 16), 1.6);
}

ScalingRun MakeRun() {
  ScalingRun run;
  run.noise = 0.5;
  run.accurate = {{1, 0.1, 800, 790, 800, 0}, {2, 0.2, 400, 410, 400, 0}};
  run.frequent = {{1, 0.1, 800, 790, 800, 0}, {2, 0.1, 402.5, 412, 805, 1}};
  return run;
}

TEST(ScalingReportTest, WritesFilesTableAndJson) {
  const std::vector<ScalingRun> runs = {MakeRun()};
  const std::string folder = ::testing::TempDir() + "/talweg_scaling_report/deep";
  const ReportWriter report = ScalingReport(folder, runs);
  EXPECT_THAT(report.table(), HasSubstr("402.5"));
  std::filesystem::remove_all(folder);
  const absl::Status written = report.Write();
  ASSERT_TRUE(written.ok()) << written;
  std::ifstream summary(report.PathOf("summary"));
  const std::string csv{std::istreambuf_iterator<char>(summary), std::istreambuf_iterator<char>()};
  EXPECT_EQ(csv,
            "noise,way,workers,learning_rate,gradients_per_worker,expected,speed_up,versions,"
            "max_staleness\n"
            "0.5,accurate,1,0.1,800,790,1.0000,800,0\n0.5,accurate,2,0.2,400,410,2.0000,400,0\n"
            "0.5,frequent,1,0.1,800,790,1.0000,800,0\n0.5,frequent,2,0.1,402.5,412,1.9876,805,1\n");
  std::ifstream plot(report.PathOf("plot"));
  const std::string svg{std::istreambuf_iterator<char>(plot), std::istreambuf_iterator<char>()};
  EXPECT_THAT(svg, HasSubstr("noise 0.5: more frequent updates"));
  EXPECT_THAT(svg, HasSubstr("ideal"));
  const std::string json = report.Json();
  EXPECT_THAT(json, HasSubstr("\"way\": \"frequent\", \"workers\": 2"));
  EXPECT_THAT(json, HasSubstr("\"plot\": \"" + report.PathOf("plot") + "\""));
  EXPECT_FALSE(ScalingReport("/proc/no", runs).Write().ok());
}

TEST(ScalingTest, NumbersOutOfTheirRangeAreRefused) {
  const Client client(std::make_shared<FakeTransport>(std::make_shared<FakeServer>()), {});
  ScalingOptions options;
  options.max_workers = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(MeasureScaling(client, options, nullptr).status()));
  options = {};
  options.noises = {0.5, 0};
  EXPECT_TRUE(absl::IsInvalidArgument(MeasureScaling(client, options, nullptr).status()));
}

}  // namespace
}  // namespace talweg
