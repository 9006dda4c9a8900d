// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_mode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace talweg {
namespace {

using ::testing::ElementsAre;

FleetShape Shape() {
  FleetShape shape;
  shape.num_workers = 8;
  shape.k = 7;
  shape.num_rounds = 50;
  shape.lease_seconds = 3;
  return shape;
}

v1::SessionConfig ConfigOf(absl::string_view mode) {
  return FleetRequest("fleet", *FindFleetMode(mode), Shape(), 1).config();
}

TEST(FleetModeTest, ThereAreFour) {
  std::vector<std::string> names;
  for (const FleetMode& mode : FleetModes()) names.emplace_back(mode.name);
  EXPECT_THAT(names, ElementsAre("synchronous", "bounded_staleness", "asynchronous", "k_of_n"));
  EXPECT_EQ(FindFleetMode("k_of_n")->name, "k_of_n");
  EXPECT_EQ(FindFleetMode("chaotic"), nullptr);
}

TEST(FleetModeTest, SynchronousWaitsForAll) {
  const v1::AggregationPolicy policy = ConfigOf("synchronous").aggregation();
  EXPECT_EQ(policy.mode(), v1::AGGREGATION_MODE_SYNCHRONOUS);
  EXPECT_EQ(policy.close(), v1::CLOSE_RULE_ALL);
  EXPECT_EQ(policy.min_workers(), 8u);
  EXPECT_EQ(policy.max_staleness(), 0u);
  EXPECT_EQ(policy.lease_seconds(), 3u);
}

TEST(FleetModeTest, KOfNClosesWithTheFirstKOrWithThoseThereAre) {
  const v1::AggregationPolicy policy = ConfigOf("k_of_n").aggregation();
  EXPECT_EQ(policy.mode(), v1::AGGREGATION_MODE_SYNCHRONOUS);
  EXPECT_EQ(policy.close(), v1::CLOSE_RULE_COUNT);
  EXPECT_EQ(policy.close_count(), 7u);
  EXPECT_EQ(policy.too_few(), v1::TOO_FEW_CLOSE);
  EXPECT_EQ(policy.max_staleness(), 0u);
}

TEST(FleetModeTest, BoundedStalenessLetsAWorkerBeFourAhead) {
  const v1::AggregationPolicy policy = ConfigOf("bounded_staleness").aggregation();
  EXPECT_EQ(policy.mode(), v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  EXPECT_EQ(policy.max_rounds_ahead(), 4u);
  EXPECT_FALSE(policy.has_min_workers());  // the server takes it in rounds only
}

TEST(FleetModeTest, AsynchronousRefusesNoContributionOfTheRun) {
  const v1::AggregationPolicy policy = ConfigOf("asynchronous").aggregation();
  EXPECT_EQ(policy.mode(), v1::AGGREGATION_MODE_ASYNCHRONOUS);
  EXPECT_GE(policy.max_staleness(), NumVersions(*FindFleetMode("asynchronous"), Shape()));
}

TEST(FleetModeTest, EveryModeTakesAsManyGradientsOverTheSameSchedule) {
  for (const FleetMode& mode : FleetModes()) {
    const uint64_t num_versions = mode.rounds ? 50 : 400;
    EXPECT_EQ(NumVersions(mode, Shape()), num_versions) << mode.name;
    EXPECT_EQ(VersionsARound(mode, Shape()), mode.rounds ? 1u : 8u) << mode.name;
    const v1::Schedule schedule = ConfigOf(mode.name).schedule();
    EXPECT_EQ(schedule.cosine().total_steps(), num_versions) << mode.name;
    EXPECT_EQ(schedule.warmup_steps(), num_versions / 10) << mode.name;
    EXPECT_EQ(schedule.learning_rate(), mode.rounds ? 0.006 : 0.003);
  }
}

}  // namespace
}  // namespace talweg
