// SPDX-License-Identifier: Apache-2.0
//
// What the fleet experiment makes of the records of its versions: sums, pages, tables, files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/experiments/fleet/fleet.h"
#include "client/experiments/fleet/fleet_view.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::StepRecord Record(uint64_t version, double seconds, double loss, uint64_t staleness = 0,
                      uint32_t contributors = 1, uint32_t num_late = 0) {
  v1::StepRecord record;
  record.set_version(version);
  const double whole = std::floor(seconds);
  record.mutable_time()->set_seconds(1000 + static_cast<int64_t>(whole));
  record.mutable_time()->set_nanos(static_cast<int32_t>((seconds - whole) * 1e9));
  record.mutable_report()->set_loss(loss);
  record.mutable_report()->set_staleness(staleness);
  record.mutable_report()->set_contributors(contributors);
  record.mutable_report()->set_num_late(num_late);
  return record;
}

FleetRun MakeRun(absl::string_view mode) {
  FleetRun run;
  run.mode = *FindFleetMode(mode);
  run.shape.num_workers = 4;
  run.shape.k = 3;
  run.shape.num_rounds = 2;
  run.batch_size = 128;
  return run;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(FleetRunTest, TimeStartsWithTheFirstVersionAndRoundsAreOfAllWorkers) {
  FleetRun run = MakeRun("asynchronous");
  run.Add(Record(1, 10, 2.0));
  run.Add(Record(2, 10.5, 1.5, 3));
  run.Add(Record(4, 11, 1.0, 1));
  EXPECT_THAT(run.seconds, ElementsAre(0, 0.5, 1));
  EXPECT_THAT(run.rounds, ElementsAre(0.25, 0.5, 1));
  EXPECT_EQ(run.max_staleness, 3u);
  EXPECT_DOUBLE_EQ(run.mean_staleness(), 4.0 / 3);
  EXPECT_DOUBLE_EQ(run.RoundsASecond(), 0.75);
  EXPECT_DOUBLE_EQ(run.RoundsASecond(0.6), 1.0);
  EXPECT_FALSE(run.complete());
  run.Add(Record(8, 12, 0.5));
  EXPECT_TRUE(run.complete());
  EXPECT_EQ(run.num_contributions, 4u);
  EXPECT_EQ(run.final_loss(), 0.5);
}

TEST(FleetRunTest, PassesOverWhatItHasAndWhatIsBeyondTheEnd) {
  FleetRun run = MakeRun("synchronous");
  run.Add(Record(1, 0, 2.0, 0, 4));
  run.Add(Record(1, 0, 2.0, 0, 4));
  run.Add(Record(2, 1, 1.0, 0, 3, 1));
  run.Add(Record(3, 2, 9.0, 0, 4));
  EXPECT_THAT(run.versions, ElementsAre(1u, 2u));
  EXPECT_EQ(run.num_contributions, 7u);
  EXPECT_EQ(run.num_late, 1u);
  EXPECT_TRUE(run.complete());
}

TEST(FleetRunTest, AnEmptyRunHasNoRates) {
  const FleetRun run = MakeRun("synchronous");
  EXPECT_EQ(run.RoundsASecond(), 0);
  EXPECT_EQ(run.mean_staleness(), 0);
  EXPECT_EQ(run.wait_share(), 0);
  EXPECT_FALSE(run.complete());
}

class FleetViewTest : public ::testing::Test {
 protected:
  FleetViewTest() : run_(MakeRun("k_of_n")), workers_(4) {
    run_.Add(Record(1, 0, 2.0, 0, 3, 1));
    run_.Add(Record(2, 0.5, 0.25, 0, 3, 1));
    run_.num_kills = 7;
    run_.num_expiries = 2;
    run_.tally.compute_seconds = 1;
    run_.tally.wait_seconds = 3;
    for (size_t i = 0; i < workers_.size(); ++i) workers_[i].name = absl::StrCat("worker-", i);
    workers_[2].tally.Add(WorkerStep{v1::VERDICT_ROUND_CLOSED, 17, 0.125, 0.0102, 0.0034});
  }
  FleetSight Sight() const {
    return {run_, workers_, 3, "127.0.0.1:4000", "fleet-k", absl::Seconds(12), events_};
  }

  FleetRun run_;
  std::vector<FleetWorker> workers_;
  std::vector<std::string> events_;
};

TEST_F(FleetViewTest, ThePageTellsTheRunAndEachWorker) {
  events_ = {"old", "  1.0 s  worker-1 killed", "x", "y"};
  const std::string page = absl::StrJoin(FleetPage(Sight(), {100, 40}), "\n");
  EXPECT_THAT(page, HasSubstr("k_of_n, 3 of 4"));
  EXPECT_THAT(page, HasSubstr("round 2 of 2"));
  EXPECT_THAT(page, HasSubstr("0 of 4 run, 3 leases   kills 7  restarts 0  expiries 2"));
  EXPECT_THAT(page, HasSubstr("late 1.00 a round"));
  EXPECT_THAT(page, HasSubstr("75 % of the workers' time"));
  EXPECT_THAT(page, HasSubstr("█"));
  EXPECT_THAT(page, HasSubstr("worker-2  away        0        0     1"));
  EXPECT_THAT(page, HasSubstr("10.2 ms"));
  EXPECT_THAT(page, HasSubstr("worker-1 killed"));
  EXPECT_THAT(page, Not(HasSubstr("old")));
}

TEST_F(FleetViewTest, ThePageFitsTheTerminal) {
  workers_.resize(100);
  events_ = {"a", "b"};
  for (const size_t rows : {12, 16, 24, 50}) {
    const std::vector<std::string> page = FleetPage(Sight(), {80, rows});
    EXPECT_LE(page.size(), rows);
    EXPECT_THAT(absl::StrJoin(page, "\n"), HasSubstr(" more"));
    EXPECT_EQ(page.back(), "b");
  }
}

TEST_F(FleetViewTest, TheLineTellsTheRunWithoutARedraw) {
  const std::string line = FleetLine(Sight());
  EXPECT_THAT(line, HasSubstr("round 2 of 2"));
  EXPECT_THAT(line, HasSubstr("2.0 rounds/s"));
  EXPECT_THAT(line, HasSubstr("kills 7"));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
}

TEST_F(FleetViewTest, BeforeTheFirstVersionThereIsAPage) {
  run_ = MakeRun("synchronous");
  EXPECT_THAT(absl::StrJoin(FleetPage(Sight(), {80, 24}), "\n"), HasSubstr("round 0 of 2"));
  EXPECT_THAT(FleetLine(Sight()), HasSubstr("loss -"));
}

TEST(FleetReportTest, WritesFilesTableAndJson) {
  FleetRun first = MakeRun("synchronous");
  first.slowdown = 10;
  first.Add(Record(1, 0, 2.0, 0, 4));
  first.Add(Record(2, 4, 1.0, 0, 4));
  first.test_accuracy = 0.9812;
  first.tally.refused = 1234;
  FleetRun second = MakeRun("k_of_n");
  second.slowdown = 10;
  second.Add(Record(1, 0, 2.0, 0, 3, 1));
  second.Add(Record(2, 0.5, 0.5, 0, 3, 1));
  second.tally.late = 7;

  const std::string folder = ::testing::TempDir() + "/talweg_fleet_report/deep";
  const ReportWriter report = FleetReport(folder, {first, second});
  const std::string& table = report.table();
  EXPECT_THAT(table, HasSubstr("k_of_n, 3 of 4"));
  EXPECT_THAT(table, HasSubstr("98.12 %"));
  EXPECT_THAT(table, HasSubstr("1,234"));

  std::filesystem::remove_all(folder);
  const absl::Status written = report.Write();
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_EQ(Contents(report.PathOf("curves")),
            "mode,slowdown,version,round,seconds,loss,staleness,contributors\n"
            "synchronous,10,1,1,0.0000,2,0,4\nsynchronous,10,2,2,4.0000,1,0,4\n"
            "k_of_n,10,1,1,0.0000,2,0,3\nk_of_n,10,2,2,0.5000,0.5,0,3\n");
  EXPECT_THAT(Contents(report.PathOf("summary")), HasSubstr("\nk_of_n,4,128,10,0,2,2,0.500,2.00,"));
  EXPECT_THAT(Contents(report.PathOf("rounds")), HasSubstr("one 10x slower: loss against rounds"));
  EXPECT_THAT(Contents(report.PathOf("time")), HasSubstr("seconds"));
  EXPECT_THAT(Contents(report.PathOf("time")), HasSubstr("3 of 4: waits for the first 3"));
  const std::string json = report.Json();
  EXPECT_THAT(json, HasSubstr("\"test_accuracy\": 0.9812"));
  EXPECT_THAT(json, HasSubstr("\"late\": 7"));
  EXPECT_THAT(json, HasSubstr("\"time\": \"" + report.PathOf("time") + "\""));
  EXPECT_FALSE(FleetReport("/proc/no", {first}).Write().ok());
}

TEST(FleetReportTest, TheRunWithoutTheStragglerIsAReference) {
  FleetRun slow = MakeRun("synchronous");
  slow.slowdown = 10;
  slow.Add(Record(1, 0, 2.0));
  slow.Add(Record(2, 1, 1.0));
  FleetRun reference = slow;
  reference.slowdown = 1;
  const std::string folder = ::testing::TempDir() + "/talweg_fleet_reference";
  const ReportWriter report = FleetReport(folder, {slow, reference});
  EXPECT_THAT(report.table(), HasSubstr("synchronous, none slow"));
  ASSERT_TRUE(report.Write().ok());
  EXPECT_THAT(Contents(report.PathOf("time")), HasSubstr("synchronous without the straggler"));
  EXPECT_THAT(Contents(report.PathOf("time")), HasSubstr("stroke-dasharray"));
}

TEST(FleetTest, NumbersOutOfTheirRangeAreRefusedBeforeAnythingStarts) {
  const auto refused = [](const std::function<void(FleetOptions&)>& change) {
    FleetOptions options;
    options.server = "127.0.0.1:1";
    options.out_dir = "/proc/no";
    change(options);
    std::ostringstream out;
    return absl::IsInvalidArgument(RunFleet(options, out, nullptr));
  };
  EXPECT_FALSE(refused([](FleetOptions&) {}));  // it is the folder that is wrong
  EXPECT_TRUE(refused([](FleetOptions& o) { o.mode = "chaotic"; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.num_workers = 0; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.k = 5; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.num_rounds = 0; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.batch_size = 60001; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.slowdown = 0.5; }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.pace = -absl::Seconds(1); }));
  EXPECT_TRUE(refused([](FleetOptions& o) { o.lease_seconds = 0; }));
}

}  // namespace
}  // namespace talweg
