// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_workers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

// Workers that are shells.
FleetWorkers::Options Shells(const std::string& script, size_t num_workers = 3) {
  FleetWorkers::Options options;
  options.program = "/bin/sh";
  options.arguments = [script](const std::string& worker, uint64_t life) {
    return std::vector<std::string>{"-c", script, worker, absl::StrCat(life)};
  };
  options.num_workers = num_workers;
  options.lease = absl::Milliseconds(20);
  return options;
}

// Ticks until `reached`; if that is never so, the deadline of the test ends it.
template <class Reached>
absl::Status TickUntil(FleetWorkers& workers, const Reached& reached) {
  while (!reached()) {
    const absl::Status status = workers.Tick(absl::Now());
    if (!status.ok()) return status;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::OkStatus();
}

TEST(FleetWorkersTest, CountsWhatEachWorkerSays) {
  FleetWorkers workers(Shells("echo step APPLIED 1 0.5 0.1 0.2; echo step ROUND_CLOSED 2 0.25 0.1 "
                              "0.2; sleep 60"),
                       absl::Now());
  ASSERT_TRUE(workers.Start().ok());
  const auto all_said = [&] {
    for (const FleetWorker& worker : workers.workers()) {
      if (worker.tally.contributions() < 2) return false;
    }
    return true;
  };
  ASSERT_TRUE(TickUntil(workers, all_said).ok());
  EXPECT_EQ(workers.num_running(), 3u);
  EXPECT_EQ(workers.workers()[1].name, "worker-1");
  EXPECT_EQ(workers.workers()[1].tally.late, 1u);
  EXPECT_EQ(workers.workers()[1].tally.last_version, 2u);
  workers.Stop(absl::Seconds(30));
  EXPECT_EQ(workers.num_running(), 0u);
}

TEST(FleetWorkersTest, TheKilledComeBackUnderTheirNamesForAnotherLife) {
  FleetWorkers::Options options = Shells("echo step APPLIED $1 0.5 0.1 0.2; sleep 60");
  options.kill_every = absl::Milliseconds(30);
  std::vector<std::string> told;
  options.tell = [&](const std::string& text) { told.push_back(text); };
  FleetWorkers workers(options, absl::Now());
  ASSERT_TRUE(workers.Start().ok());
  ASSERT_TRUE(TickUntil(workers, [&] { return workers.num_restarts() >= 5; }).ok());
  EXPECT_GE(workers.num_kills(), 5u);
  uint64_t num_starts = 0;
  for (const FleetWorker& worker : workers.workers()) {
    num_starts += worker.num_starts;
    // The number of the life is the version these shells tell.
    EXPECT_LE(worker.tally.last_version, worker.num_starts - 1);
  }
  EXPECT_EQ(num_starts, 3 + workers.num_restarts());
  EXPECT_THAT(told.front(), HasSubstr("killed"));
}

TEST(FleetWorkersTest, WhoEndsWellIsDone) {
  FleetWorkers workers(Shells("echo step APPLIED 1 0.5 0.1 0.2"), absl::Now());
  ASSERT_TRUE(workers.Start().ok());
  ASSERT_TRUE(TickUntil(workers, [&] { return workers.num_running() == 0; }).ok());
  EXPECT_EQ(workers.num_restarts(), 0u);
  for (const FleetWorker& worker : workers.workers()) EXPECT_EQ(worker.tally.applied, 1u);
}

TEST(FleetWorkersTest, WhoKeepsEndingIsAnErrorWithItsLastWords) {
  FleetWorkers workers(Shells("echo 'talweg: no such thing' >&2; exit 1", 1), absl::Now());
  ASSERT_TRUE(workers.Start().ok());
  const absl::Status status = TickUntil(workers, [] { return false; });
  EXPECT_THAT(std::string(status.message()), HasSubstr("worker-0"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("exit status 1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("no such thing"));
  EXPECT_EQ(workers.workers()[0].num_starts, 3u);
}

}  // namespace
}  // namespace talweg
