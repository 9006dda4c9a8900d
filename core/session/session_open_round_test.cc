// SPDX-License-Identifier: Apache-2.0
//
// What else an open round touches: changes of the configuration, saved states, memory.
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "core/session/fleet_testing.h"
#include "core/session/session.h"
#include "gtest/gtest.h"

namespace talweg::core::round_fleet {
namespace {

TEST(SessionRoundsTest, ConfigurationWaitsForTheOpenRound) {
  const SessionConfig config = ConfigFor(Synchronous(), "gradient_descent", 1);
  Fleet fleet(config, 2);
  fleet.Contribute(0, {1});
  SessionConfig faster = config;
  const DecayKind& kind = *FindDecayKind("constant");
  faster.schedule =
      Schedule(ConfigOf<RateConfig>({.learning_rate = 10}), kind, kind.default_config());
  ASSERT_TRUE(fleet.session().Reconfigure(0, faster, kNow).effects.status.ok());
  EXPECT_EQ(fleet.session().config_version(), 2u);
  EXPECT_TRUE(SameConfig(fleet.session().newest_config(), faster));
  EXPECT_TRUE(SameConfig(fleet.session().config(), config));
  fleet.Contribute(1, {3});
  EXPECT_EQ(fleet.values(), std::vector<float>{-2});
  EXPECT_EQ(fleet.records()[0]->config_version, 1u);
  fleet.Contribute(0, {1});
  fleet.Contribute(1, {3});
  EXPECT_EQ(fleet.values(), std::vector<float>{-22});
  EXPECT_EQ(fleet.records()[1]->config_version, 2u);
}

TEST(SessionRoundsTest, SavedStateHasNoOpenRound) {
  AggregationConfig aggregation = Synchronous();
  for (const bool staged : {false, true}) {
    aggregation.reduce_order = staged ? ReduceOrder::kByWorker : ReduceOrder::kAny;
    aggregation.max_workers = 3;
    Fleet uninterrupted(ConfigFor(aggregation), 3);
    Fleet stopped(ConfigFor(aggregation), 3);
    for (Fleet* fleet : {&uninterrupted, &stopped}) {
      for (size_t worker = 0; worker < 3; ++worker) fleet->Contribute(worker, GradientOf(worker));
      fleet->Contribute(0, GradientOf(10));
    }
    const std::string bytes = stopped.session().Save();
    auto loaded = Session::Load(bytes, kNow);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->Save(), bytes);
    EXPECT_EQ((*loaded)->machine().num_folded(), 0u);
    EXPECT_EQ((*loaded)->machine().history(), kHistory);
    stopped.Replace(*std::move(loaded));
    stopped.Contribute(0, GradientOf(10));  // again: it was pending
    for (Fleet* fleet : {&uninterrupted, &stopped}) {
      fleet->Contribute(1, GradientOf(11));
      fleet->Contribute(2, GradientOf(12));
      EXPECT_EQ(fleet->session().machine().version(), 2u);
    }
    EXPECT_EQ(uninterrupted.values(), stopped.values());
  }
}

TEST(SessionRoundsTest, LostStepsBeginANewHistory) {
  Fleet fleet(ConfigFor(Synchronous(), "momentum", 5), 1);
  fleet.Contribute(0, GradientOf(1, 5));
  const std::string bytes = fleet.session().Save();
  auto loaded = Session::Load(bytes, kNow, /*history=*/99);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->machine().history(), 99u);
  EXPECT_EQ((*loaded)->machine().version(), 1u);
  ContributionInput old{Contribution{kHistory, "w0", 1, 2, 1}};
  old.contribution.ticket = 1;
  old.gradient = Staged(**loaded, GradientOf(1, 5));
  EXPECT_EQ(ReasonName(ContributeAndRun(**loaded, std::move(old), kNow).judged.status),
            "HISTORY_CHANGED");
}

TEST(SessionRoundsTest, MemoryForARoundIsCharged) {
  // The limit for records of versions differs too; it is taken out of the comparison.
  const uint64_t plain = ConfigFor(AggregationConfig(), "momentum").MemoryBytes() -
                         AggregationConfig().RecordBytes() + Synchronous().RecordBytes();
  EXPECT_EQ(ConfigFor(Synchronous(), "momentum").MemoryBytes(), plain + 20 * kElements);
  AggregationConfig staged = Synchronous();
  staged.reduction = Reduction::kMedian;
  staged.max_workers = 6;
  EXPECT_EQ(ConfigFor(staged, "momentum").MemoryBytes(), plain + 28 * kElements);
}

TEST(SessionRoundsTest, WhatNeedsOtherMemoryIsFixed) {
  const SessionConfig config = ConfigFor(Synchronous(), "momentum", 3);
  Fleet fleet(config, 1);
  const auto refused = [&](auto change) {
    AggregationConfig aggregation = Synchronous();
    change(aggregation);
    SessionConfig changed = config;
    changed.aggregation = ConfigOf<AggregationConfig>(aggregation);
    return FieldName(fleet.session().Reconfigure(0, changed, kNow).effects.status);
  };
  EXPECT_EQ(refused([](auto& a) { a.mode = AggregationMode::kAsynchronous; }),
            "config.aggregation.mode");
  EXPECT_EQ(refused([](auto& a) { a.reduction = Reduction::kMedian; }),
            "config.aggregation.reduction");
  EXPECT_EQ(refused([](auto& a) { a.reduce_order = ReduceOrder::kByWorker; }),
            "config.aggregation.reduce_order");
  EXPECT_EQ(refused([](auto& a) { a.close = CloseRule::kCount, a.close_count = 2; }), "");
}

}  // namespace
}  // namespace talweg::core::round_fleet
