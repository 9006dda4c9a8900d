// SPDX-License-Identifier: Apache-2.0
//
// Configuration changes take effect at version boundaries, except for the closing rule, which holds
// for the open round too.
#include <cmath>

#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(ConfigureTest, TakesEffectAtOnceWhereNoRoundIsOpen) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  fleet.Configure(Count(1), /*learning_rate=*/8);
  EXPECT_EQ(fleet.machine.aggregation().close, CloseRule::kCount);
  EXPECT_EQ(fleet.machine.schedule().LearningRate(1), 8);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.OrderOf(2).learning_rate, 8 / std::sqrt(2.0));
  EXPECT_EQ(fleet.RecordOf(1).config_version, 1u);
  EXPECT_EQ(fleet.RecordOf(2).config_version, 2u);
}

TEST(ConfigureTest, TakesEffectWithTheNextVersionWhereARoundIsOpen) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  AggregationConfig changed = Count(3);
  changed.max_workers = 7;
  fleet.Configure(changed, /*learning_rate=*/8);
  EXPECT_EQ(fleet.machine.aggregation().close, CloseRule::kAll);
  EXPECT_EQ(fleet.machine.aggregation().max_workers, 0u);
  EXPECT_EQ(fleet.machine.schedule().LearningRate(1), 0.5);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 0u);  // two are not enough yet
  fleet.Contribute("c");
  EXPECT_EQ(fleet.OrderOf(1).learning_rate, 0.5);
  EXPECT_EQ(fleet.RecordOf(1).config_version, 1u);
  EXPECT_EQ(fleet.machine.aggregation().close, CloseRule::kCount);
  EXPECT_EQ(fleet.machine.aggregation().max_workers, 7u);
  fleet.Configure(Count(1), /*learning_rate=*/8);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.version(), 2u);
  EXPECT_EQ(fleet.OrderOf(2).learning_rate, 8 / std::sqrt(2.0));
  EXPECT_EQ(fleet.RecordOf(2).config_version, 3u);
}

TEST(ConfigureTest, AClosingRuleThatChangesHoldsForTheOpenRound) {
  Fleet fleet(Count(3));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  fleet.Pass(absl::Minutes(5));
  EXPECT_EQ(fleet.Told(a), "waits");  // for a third worker
  fleet.Configure(Count(2), /*learning_rate=*/8);
  EXPECT_EQ(fleet.machine.NextTick(), fleet.now);
  EXPECT_EQ(fleet.Told(a), "waits");  // a tick does it
  fleet.Pass(absl::ZeroDuration());
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  // Everything else is of the configuration before.
  EXPECT_EQ(fleet.OrderOf(1).learning_rate, 0.5);
  EXPECT_EQ(fleet.RecordOf(1).config_version, 1u);
  EXPECT_EQ(fleet.RecordOf(1).close_config_version, 2u);
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.RecordOf(2).config_version, 2u);
  EXPECT_EQ(fleet.RecordOf(2).close_config_version, 0u);  // the same
}

// The count was checked against the new number of places, which are there with the next version.
TEST(ConfigureTest, ACountBeyondThePlacesOfTheOpenRoundIsAllOfThem) {
  AggregationConfig two = Count(2);
  two.max_workers = 2;
  Fleet fleet(two);
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  AggregationConfig three = Count(3);
  three.max_workers = 4;
  fleet.Configure(three, /*learning_rate=*/8);
  EXPECT_EQ(fleet.machine.DescribeRound(fleet.now)->needed_contributions, 2u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.machine.aggregation().max_workers, 4u);
  fleet.JoinAll({"c"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Contribute("c");
  EXPECT_EQ(fleet.machine.version(), 2u);
}

TEST(ConfigureTest, AClosingRuleThatStaysIsNotToldToHaveChanged) {
  Fleet fleet(Count(2));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Configure(Count(2), /*learning_rate=*/8);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.RecordOf(1).config_version, 1u);
  EXPECT_EQ(fleet.RecordOf(1).close_config_version, 0u);
}

TEST(ConfigureTest, AClosingRuleMayChangeSeveralTimesInOneRound) {
  Fleet fleet(Count(3));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.Configure(Count(1));
  fleet.Configure(Count(2));
  fleet.Pass(absl::ZeroDuration());
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.RecordOf(1).close_config_version, 3u);
}

TEST(ConfigureTest, ADeadlineMayBeSetForTheOpenRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Seconds(3));
  AggregationConfig aggregation = Synchronous(CloseRule::kDeadline);
  aggregation.close_seconds = 5;  // after the first contribution, which came 3 s ago
  fleet.Configure(aggregation);
  fleet.Pass(absl::Milliseconds(1999));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Milliseconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ConfigureTest, FewerThanTheRuleAsksForMayBeLetIntoTheOpenRound) {
  AggregationConfig aggregation = Count(2);
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");
  aggregation.too_few = TooFew::kClose;
  fleet.Configure(aggregation);
  fleet.Pass(absl::ZeroDuration());
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ConfigureTest, AProgressDeadlineHoldsForTheOpenRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(10));
  EXPECT_EQ(fleet.Told(a), "waits");
  AggregationConfig aggregation = Synchronous();
  aggregation.progress_seconds = 12;
  fleet.Configure(aggregation);
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ConfigureTest, TheLastOfSeveralChangesCounts) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Configure(Count(1));
  fleet.Configure(Count(2));
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.aggregation().close_count, 2u);
  EXPECT_EQ(fleet.RecordOf(1).close_config_version, 3u);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.RecordOf(2).config_version, 3u);
}

TEST(ConfigureTest, AccumulatedGradientsAreARoundToo) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a"});
  for (int time = 0; time < 3; ++time) fleet.Contribute("a");
  fleet.Configure(Accumulating(2));
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 4u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 2");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(ConfigureTest, ARoundThatWaitsForMinWorkersIsNotOpenYet) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Contribute("b");
  aggregation.min_workers = 2;
  fleet.Configure(aggregation);
  EXPECT_EQ(fleet.machine.config_version(), 2u);
  EXPECT_EQ(fleet.machine.aggregation().min_workers, 2u);
  fleet.Pass(absl::ZeroDuration());
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.RecordOf(1).config_version, 2u);
}

TEST(ConfigureTest, TellsWhichOneIsInForce) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  EXPECT_EQ(fleet.machine.config_version(), 1u);
  fleet.Configure(Count(1));
  EXPECT_EQ(fleet.machine.config_version(), 2u);
  fleet.Configure(Synchronous());
  fleet.Contribute("a");
  fleet.Configure(Count(1));
  EXPECT_EQ(fleet.machine.config_version(), 3u);
  EXPECT_EQ(fleet.machine.closing().close, CloseRule::kCount);
  EXPECT_EQ(fleet.machine.aggregation().close, CloseRule::kAll);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.config_version(), 4u);
}

TEST(ConfigureTest, AShorterLeaseHoldsFromTheNextSignOfLife) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  AggregationConfig aggregation = Synchronous();
  aggregation.lease_seconds = 2;
  fleet.Configure(aggregation);
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.Pass(absl::Seconds(2));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  fleet.Pass(absl::Seconds(28));  // what was promised is kept
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
}

TEST(ConfigureTest, AProgressDeadlineMayBeSetLive) {
  Fleet fleet(Synchronous(CloseRule::kAll));
  fleet.JoinAll({"a", "b"});
  AggregationConfig aggregation = Synchronous();
  aggregation.progress_seconds = 3;
  fleet.Configure(aggregation);
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(2));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ConfigureTest, WhoWasGivenUpStaysSoWhenTheDeadlineGoes) {
  AggregationConfig aggregation = Synchronous();
  aggregation.progress_seconds = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(4));
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Configure(Synchronous());
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
  fleet.Contribute("b");
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "APPLIED 3");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(ConfigureTest, FewerWorkersMayBeAllowedThanThereAre) {
  AggregationConfig aggregation = Synchronous();
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  aggregation.max_workers = 2;
  fleet.Configure(aggregation);
  EXPECT_EQ(fleet.machine.num_workers(), 3u);
  EXPECT_EQ(ReasonName(fleet.Join("d")), "TOO_MANY_WORKERS");
  EXPECT_TRUE(fleet.Join("a").ok());
  fleet.Contribute("a");
  fleet.Contribute("b");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
}

TEST(ConfigureDeathTest, NoChangeMayComeWhileAStepIsTaken) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  EXPECT_DEATH(fleet.Configure(Synchronous()), "broken promise");
  fleet.TakeStep();
}

}  // namespace
}  // namespace talweg::core
