// SPDX-License-Identifier: Apache-2.0
//
// Which verdict a contribution gets, whatever the mode.
#include <limits>

#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

// A trainer whose session is at `version`.
Fleet At(uint64_t version, const AggregationConfig& aggregation) {
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  while (fleet.machine.version() < version) fleet.Contribute("a");
  return fleet;
}

std::string ToldFor(Fleet& fleet, uint64_t base_version, bool finite = true) {
  Contribution contribution = fleet.Gradient("a");
  contribution.base_version = base_version;
  contribution.finite = finite;
  return fleet.Told(fleet.Send(contribution));
}

AggregationConfig MaxStaleness(AggregationConfig aggregation, uint64_t versions) {
  aggregation.max_staleness = versions;
  return aggregation;
}

TEST(VerdictTest, ABaseVersionThatIsNotMadeYetIsAnError) {
  for (const AggregationConfig& aggregation :
       {AggregationConfig{}, Synchronous(), BoundedStaleness(0)}) {
    Fleet fleet = At(3, aggregation);
    EXPECT_EQ(ToldFor(fleet, 4), "VERSION_AHEAD");
    EXPECT_EQ(ToldFor(fleet, std::numeric_limits<uint64_t>::max()), "VERSION_AHEAD");
    EXPECT_EQ(ToldFor(fleet, 3), "APPLIED 4");
  }
}

TEST(VerdictTest, LateContributionsAreRoundClosedOnlyInASessionThatMakesRounds) {
  for (const auto& [aggregation, late] :
       {std::pair(Synchronous(), "ROUND_CLOSED 3"), {AggregationConfig{}, "TOO_STALE 3"}}) {
    Fleet fleet = At(3, aggregation);
    EXPECT_EQ(ToldFor(fleet, 2), late);
    EXPECT_EQ(ToldFor(fleet, 0), late);
    EXPECT_EQ(ToldFor(fleet, 3), "APPLIED 4");
  }
}

TEST(VerdictTest, OlderThanMaxStalenessIsTooStale) {
  for (const AggregationConfig& aggregation : {AggregationConfig{}, Synchronous()}) {
    Fleet fleet = At(5, MaxStaleness(aggregation, 2));
    EXPECT_EQ(ToldFor(fleet, 2), "TOO_STALE 5");
    EXPECT_EQ(ToldFor(fleet, 3), "APPLIED 6");
    EXPECT_EQ(fleet.OrderOf(fleet.orders.size()).number, 6u);
  }
}

TEST(VerdictTest, WithBoundedStalenessZeroIsNoLimitInVersions) {
  Fleet fleet = At(50, BoundedStaleness(0));
  EXPECT_EQ(ToldFor(fleet, 0), "APPLIED 51");
  EXPECT_EQ(fleet.machine.last_step()->staleness, 50u);
}

TEST(VerdictTest, WithBoundedStalenessVersionsMayBeLimitedToo) {
  Fleet fleet = At(5, MaxStaleness(BoundedStaleness(0), 4));
  EXPECT_EQ(ToldFor(fleet, 0), "TOO_STALE 5");
  EXPECT_EQ(ToldFor(fleet, 1), "APPLIED 6");
}

TEST(VerdictTest, ANonFiniteGradientIsRefusedAndChangesNothingElse) {
  for (const AggregationConfig& aggregation :
       {AggregationConfig{}, Accumulating(2), Synchronous(), BoundedStaleness(0)}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"a"});
    EXPECT_EQ(ToldFor(fleet, 0, /*finite=*/false), "REJECTED_NON_FINITE 0");
    EXPECT_FALSE(fleet.last.fold);
    EXPECT_EQ(fleet.machine.num_folded(), 0u);
    EXPECT_EQ(fleet.machine.version(), 0u);
    EXPECT_EQ(fleet.machine.last_step(), nullptr);
  }
}

TEST(VerdictTest, StalenessIsJudgedBeforeFiniteness) {
  Fleet fleet = At(2, AggregationConfig{});
  EXPECT_EQ(ToldFor(fleet, 0, /*finite=*/false), "TOO_STALE 2");
}

TEST(VerdictTest, StalenessIsJudgedOnceWhenTheContributionIsWhole) {
  // What is part of the open round stays part of it, whatever happens until that closes.
  AggregationConfig aggregation = Synchronous();
  aggregation.max_staleness = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  fleet.JoinAll({"b"});
  Contribution old = fleet.Gradient("b");
  old.base_version = 0;
  const uint64_t call = fleet.Send(old);
  EXPECT_EQ(fleet.Told(call), "waits");
  aggregation.max_staleness = 0;
  fleet.Configure(aggregation);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(call), "APPLIED 2");
}

TEST(VerdictTest, ARefusalIsAnAnswerAtOnce) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("b");
  EXPECT_EQ(ToldFor(fleet, 0, /*finite=*/false), "REJECTED_NON_FINITE 0");
  EXPECT_TRUE(fleet.last.answer.has_value());
}

TEST(VerdictTest, ARefusalMayCloseARoundAndIsStillAnswered) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t call = fleet.Contribute("b");
  EXPECT_EQ(ToldFor(fleet, 0, /*finite=*/false), "REJECTED_NON_FINITE 0");
  EXPECT_TRUE(fleet.last.step.has_value());
  EXPECT_FALSE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(call), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "b");
}

TEST(VerdictTest, OnlyAppliedHasAReport) {
  Fleet fleet = At(2, AggregationConfig{});
  ToldFor(fleet, 0);
  EXPECT_EQ(fleet.last.answer->report, nullptr);
  const uint64_t call = fleet.Contribute("a");
  ASSERT_NE(fleet.answers[call].report, nullptr);
  EXPECT_EQ(fleet.answers[call].report, fleet.machine.last_step());
}

TEST(VerdictTest, TheScheduleCountsVersionsNotContributions) {
  Fleet fleet = At(3, AggregationConfig{});
  ToldFor(fleet, 0);
  ToldFor(fleet, 3, /*finite=*/false);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.OrderOf(fleet.orders.size()).number, 4u);
  EXPECT_EQ(fleet.OrderOf(fleet.orders.size()).learning_rate, 0.25);  // 0.5 / sqrt(4)
  EXPECT_EQ(fleet.machine.last_step()->learning_rate, 0.25);
}

}  // namespace
}  // namespace talweg::core
