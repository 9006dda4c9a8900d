// SPDX-License-Identifier: Apache-2.0
//
// Workers that live and make no progress: heartbeats keep their lease, but nobody waits for them
// for ever.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

AggregationConfig WithProgress(AggregationConfig aggregation, double seconds) {
  aggregation.progress_seconds = seconds;
  aggregation.lease_seconds = 60;
  return aggregation;
}

TEST(ProgressTest, WithoutADeadlineALiveWorkerIsWaitedForAsLongAsItLives) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Minutes(10));
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(ProgressTest, ALiveWorkerWithoutProgressEndsAnExpectation) {
  Fleet fleet(WithProgress(Synchronous(), 5));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
}

TEST(ProgressTest, TheDeadlineRunsFromTheOpeningOfTheRound) {
  Fleet fleet(WithProgress(Synchronous(), 5));
  fleet.JoinAll({"a", "b"});
  fleet.PassWithHeartbeatsOf({"a", "b"}, absl::Seconds(100));  // nobody is waited for
  const absl::Time opened = fleet.now;
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.RecordOf(1).closed, opened + absl::Seconds(5));
}

TEST(ProgressTest, AVerdictOfWhateverKindIsProgress) {
  Fleet fleet(WithProgress(Synchronous(CloseRule::kAll), 5));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(4));
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  const uint64_t a = fleet.Contribute("a");  // the deadline of b runs anew
  fleet.Pass(absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(ProgressTest, WhoMadeNoneIsNotWaitedForInLaterRoundsEither) {
  Fleet fleet(WithProgress(Synchronous(), 5));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(6));
  EXPECT_EQ(fleet.machine.version(), 1u);
  for (uint64_t version = 2; version < 5; ++version) {
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("APPLIED ", version));
    EXPECT_TRUE(fleet.Heartbeat("b").ok());
  }
}

TEST(ProgressTest, ItCountsAgainWithItsNextContribution) {
  for (const bool finite : {true, false}) {
    Fleet fleet(WithProgress(Synchronous(), 5));
    fleet.JoinAll({"a", "b", "c"});
    fleet.Contribute("a");
    fleet.Contribute("c");
    fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(6));
    EXPECT_EQ(fleet.machine.version(), 1u);
    // The contribution that opens a round makes it one of the expected; c is another.
    Contribution contribution = fleet.Gradient("b");
    contribution.finite = finite;
    fleet.Send(contribution);
    fleet.Contribute("a");
    fleet.Contribute("c");
    EXPECT_EQ(fleet.machine.version(), finite ? 2u : 1u);
    if (!finite) fleet.Contribute("b");
    EXPECT_EQ(fleet.MembersOf(2), finite ? "b a c" : "a c b");
    const uint64_t a = fleet.Contribute("a");
    fleet.Contribute("c");
    EXPECT_EQ(fleet.Told(a), "waits");
  }
}

TEST(ProgressTest, AContributionAfterItWasGivenUpChangesNobodyElsesExpectation) {
  AggregationConfig aggregation = WithProgress(Synchronous(CloseRule::kCount), 5);
  aggregation.close_count = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b", "c"}, absl::Seconds(6));  // both are given up
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("c");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  EXPECT_EQ(fleet.RecordOf(1).num_late, 0u);
}

TEST(ProgressTest, WhoResumesWithinARoundIsExpectedInTheNext) {
  for (const bool finite : {true, false}) {
    Fleet fleet(WithProgress(Synchronous(), 5));
    fleet.JoinAll({"a", "b", "c"});
    fleet.Contribute("a");
    fleet.Contribute("c");
    fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(6));
    EXPECT_EQ(fleet.machine.version(), 1u);
    const uint64_t a = fleet.Contribute("a");  // opens a round that expects a and c
    Contribution contribution = fleet.Gradient("b");
    contribution.finite = finite;
    fleet.Send(contribution);
    EXPECT_EQ(fleet.Told(a), "waits");
    fleet.Contribute("c");
    EXPECT_EQ(fleet.MembersOf(2), finite ? "a b c" : "a c");
    fleet.Contribute("a");
    fleet.Contribute("c");
    EXPECT_EQ(fleet.machine.version(), 2u);
    fleet.Contribute("b");
    EXPECT_EQ(fleet.machine.version(), 3u);
  }
}

TEST(ProgressTest, AnExpiredOneThatComesBackCountsAnew) {
  Fleet fleet(WithProgress(Synchronous(), 5));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(6));  // b is given up
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.PassWithHeartbeatsOf({"a"}, absl::Seconds(60));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(ProgressTest, WhoWaitsOwesNothing) {
  AggregationConfig aggregation = WithProgress(Synchronous(CloseRule::kCount), 5);
  aggregation.close_count = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Minutes(10));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.JoinAll({"b", "c"});
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  fleet.Contribute("b");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.RecordOf(2).late_workers, std::vector<std::string>{"a"});  // it was expected
}

TEST(ProgressTest, TicksAreFewWhenNobodyIsWaitedFor) {
  Fleet fleet(WithProgress(Synchronous(), 5));
  fleet.JoinAll({"a", "b"});
  int ticks = 0;
  const absl::Time end = fleet.now + absl::Seconds(50);
  for (; fleet.machine.NextTick() <= end; ++ticks) {
    ASSERT_LT(ticks, 100);
    fleet.now = std::max(fleet.now, fleet.machine.NextTick());
    fleet.Do(Tick{});
  }
  EXPECT_LE(ticks, 20);  // one a worker and deadline
}

}  // namespace
}  // namespace talweg::core
