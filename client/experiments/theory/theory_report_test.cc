// SPDX-License-Identifier: Apache-2.0
//
// What the experiments on theory leave behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "client/cpp/talweg/fake_transport.h"
#include "client/experiments/theory/ill_conditioned.h"
#include "client/experiments/theory/rates.h"

namespace talweg {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string Folder(const std::string& name) {
  const std::string folder = ::testing::TempDir() + "/talweg_theory/" + name;
  fs::remove_all(folder);
  return folder;
}

Client FakeClient() {
  return {std::make_shared<FakeTransport>(std::make_shared<FakeServer>()), {}};
}

TEST(IllConditionedReportTest, WritesFilesTableAndJson) {
  IllConditionedRun slow;
  slow.num_dimensions = 2;
  slow.name = "gradient_descent, fastest";
  slow.method = "gradient_descent";
  slow.rule = {0.5, 0, false};
  slow.predicted_steps = 2;
  slow.steps = 2;
  slow.arrived = true;
  slow.travel_across = 3;
  slow.losses = {1, 0.5, 1e-7};
  slow.along = {1, 0.5, 0.25};
  slow.across = {0.1, -0.1, 0.1};
  IllConditionedRun late = slow;
  late.name = "nesterov";
  late.rule = {0.5, 0.75, true};
  late.arrived = false;

  const ReportWriter report = IllConditionedReport(Folder("deep/ill"), 100, {slow, late});
  const absl::Status written = report.Write();
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_THAT(Contents(report.PathOf("curves")),
              HasSubstr("dimensions,rule,step,loss,along,across\n"
                        "2,\"gradient_descent, fastest\",0,1,1,0.1\n"
                        "2,\"gradient_descent, fastest\",1,0.5,0.5,-0.1\n"));
  EXPECT_THAT(Contents(report.PathOf("summary")),
              HasSubstr("2,\"nesterov\",gradient_descent,2,0.75,0,2,2,0,3\n"));
  EXPECT_THAT(Contents(report.PathOf("plot")), HasSubstr("nesterov: 2 steps (theory 2)</text>"));
  EXPECT_THAT(Contents(report.PathOf("paths")),
              HasSubstr("gradient_descent, fastest: 2 steps</text>"));
  EXPECT_THAT(Contents(report.PathOf("paths")), Not(HasSubstr("nan")));

  EXPECT_THAT(report.table(), HasSubstr("> 2"));  // did not arrive
  const std::string json = report.Json();
  EXPECT_THAT(json, HasSubstr("\"rule\": \"nesterov\""));
  EXPECT_THAT(json, HasSubstr("\"paths\": \"" + report.PathOf("paths") + "\""));
  EXPECT_FALSE(IllConditionedReport("/proc/no", 100, {slow}).Write().ok());
}

TEST(IllConditionedTest, RefusesAConditionThatIsNone) {
  for (const double condition : {1.0, -5.0, 1e9, std::numeric_limits<double>::quiet_NaN()}) {
    IllConditionedOptions options;
    options.condition = condition;
    EXPECT_TRUE(
        absl::IsInvalidArgument(DescendIllConditioned(FakeClient(), options, nullptr).status()));
  }
}

TEST(RatesReportTest, SaysHowFarTheSlopeIsFromTheory) {
  RatesRun close;
  close.name = "nesterov, growing momentum";
  close.method = "nesterov";
  close.theory = -2;
  close.losses.assign(100, 0.5);
  close.first = 10;
  close.last = 100;
  close.fit = {-1.95, 50};
  close.bound_share = 0.1;
  RatesRun off = close;
  off.name = "noisy";
  off.theory = -0.5;
  off.fit = {-0.3, 50};
  off.slope_error = 0.02;
  off.bound_share = 0;
  EXPECT_NEAR(close.Deviation(), 0.025, 1e-12);

  const ReportWriter report = RatesReport(Folder("deep/rates"), {close, off});
  const std::string& table = report.table();
  EXPECT_THAT(table, HasSubstr("-1.950      -2  agrees within 3 %"));
  EXPECT_THAT(table, HasSubstr("-0.300 ± 0.020    -0.5  off by 40 %"));
  const absl::Status written = report.Write();
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_THAT(Contents(report.PathOf("curves")),
              HasSubstr("run,step,loss\n"
                        "\"nesterov, growing momentum\",1,0.5\n"));
  EXPECT_THAT(Contents(report.PathOf("summary")),
              HasSubstr("\"noisy\",nesterov,100,10,100,-0.300000,0.020000,-0.5,0.400000,0\n"));
  EXPECT_THAT(Contents(report.PathOf("plot")), HasSubstr("slope -1.95 (theory -2)</text>"));
  EXPECT_THAT(report.Json(), HasSubstr("\"slope\": -1.950000"));
  EXPECT_FALSE(RatesReport("/proc/no", {close}).Write().ok());
}

TEST(RatesTest, RefusesNumbersOutOfTheirRange) {
  const auto run = [](RatesOptions options) {
    return MeasureRates(FakeClient(), options, nullptr).status();
  };
  RatesOptions options;
  options.num_steps = 99;
  EXPECT_TRUE(absl::IsInvalidArgument(run(options)));
  options = {};
  options.num_steps = 3001;
  EXPECT_TRUE(absl::IsInvalidArgument(run(options)));
  options = {};
  options.num_noisy_steps = 99;
  EXPECT_TRUE(absl::IsInvalidArgument(run(options)));
  options = {};
  options.num_seeds = 1;
  EXPECT_TRUE(absl::IsInvalidArgument(run(options)));
}

}  // namespace
}  // namespace talweg
