// SPDX-License-Identifier: Apache-2.0
//
// Bounded staleness: clocks count verdicts, and a worker that is too far ahead of the least waits.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

Contribution Broken(Fleet& fleet, const std::string& worker) {
  Contribution contribution = fleet.Gradient(worker);
  contribution.finite = false;
  return contribution;
}

TEST(BoundedStalenessTest, EveryContributionMakesAVersion) {
  Fleet fleet(BoundedStaleness(3));
  fleet.JoinAll({"a", "b"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_FALSE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 2");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 3");
  for (const StepOrder& order : fleet.orders) EXPECT_EQ(order.contributors, 1u);
}

TEST(BoundedStalenessTest, WhoIsMoreThanMaxRoundsAheadWaits) {
  for (uint64_t ahead = 0; ahead < 4; ++ahead) {
    SCOPED_TRACE(ahead);
    Fleet fleet(BoundedStaleness(ahead));
    fleet.JoinAll({"a", "b"});
    for (uint64_t round = 1; round <= ahead; ++round) {
      EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("APPLIED ", round));
    }
    const uint64_t a = fleet.Contribute("a");  // ahead + 1 before b
    EXPECT_EQ(fleet.Told(a), "waits");
    EXPECT_EQ(fleet.machine.version(), ahead + 1);  // its step is taken, only the answer waits
    EXPECT_EQ(fleet.Told(fleet.Contribute("b")), absl::StrCat("APPLIED ", ahead + 2));
    EXPECT_EQ(fleet.Told(a), absl::StrCat("APPLIED ", ahead + 1));
  }
}

TEST(BoundedStalenessTest, AllWaitForTheSlowestAlone) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t a = fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "waits");
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "APPLIED 3");
  EXPECT_EQ(fleet.Told(b), "APPLIED 4");
}

TEST(BoundedStalenessTest, EachIsLetGoWhenTheLeastHasComeUpToIt) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("a");  // counts nowhere, but is a verdict
  fleet.Contribute("b");
  EXPECT_EQ(fleet.num_waiting(), 1u);  // a is two verdicts along, b one
  fleet.Contribute("b");
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(BoundedStalenessTest, AnyVerdictAdvancesAWorkersClock) {
  AggregationConfig aggregation = BoundedStaleness(1);
  aggregation.max_staleness = 9;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  while (fleet.machine.version() < 20) {
    fleet.Contribute("a");
    fleet.Contribute("b");
  }
  // a is refused for two reasons, and is two ahead.
  fleet.Send(Broken(fleet, "a"));
  EXPECT_EQ(fleet.num_waiting(), 0u);
  Contribution stale = fleet.Gradient("a");
  stale.base_version = 0;
  const uint64_t a = fleet.Send(stale);
  EXPECT_EQ(fleet.Told(a), "waits");
  // b is refused, and has come up by it.
  const uint64_t b = fleet.Send(Broken(fleet, "b"));
  EXPECT_EQ(fleet.Told(b), "REJECTED_NON_FINITE 20");
  EXPECT_EQ(fleet.Told(a), "TOO_STALE 20");
}

TEST(BoundedStalenessTest, RepeatsAndErrorsAdvanceNothing) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  for (int time = 0; time < 5; ++time) {
    EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again APPLIED 1");
  }
  Contribution ahead = fleet.Gradient("a");
  ahead.base_version = 9;
  fleet.Send(ahead);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");  // the second verdict
}

TEST(BoundedStalenessTest, ARepeatOfAHeldAnswerWaitsToo) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  const uint64_t again = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(again), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
  EXPECT_EQ(fleet.Told(again), "again APPLIED 1");
}

TEST(BoundedStalenessTest, NobodyWaitsForStatisticsOfAWorkerThatIsAhead) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b", "c"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
  Contribution statistics = fleet.Gradient("a");
  statistics.is_statistics = true;
  EXPECT_EQ(fleet.Told(fleet.Send(statistics)), "PENDING 2");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(statistics)), "again APPLIED 2");
  statistics = fleet.Gradient("a");
  statistics.is_statistics = true;
  statistics.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(statistics)), "REJECTED_NON_FINITE 2");
  EXPECT_EQ(fleet.Told(fleet.Send(statistics)), "again REJECTED_NON_FINITE 2");
  // The worker is as far ahead as before.
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(BoundedStalenessTest, WhoDoesNotWaitIsToldPendingWhileItIsAhead) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  Contribution contribution = fleet.Gradient("a");
  contribution.may_wait = false;
  const uint64_t a = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(a), "PENDING 1");
  EXPECT_EQ(fleet.machine.version(), 1u);
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again PENDING 1");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again APPLIED 1");
}

TEST(BoundedStalenessTest, WhoDoesNotWaitIsToldPendingOfARefusalToo) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  Contribution broken = Broken(fleet, "a");
  broken.may_wait = false;
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "PENDING 0");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "again REJECTED_NON_FINITE 0");
}

TEST(BoundedStalenessTest, AContributionWhileItsWorkerIsHeldCountsNowhere) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t first = fleet.Contribute("a");
  const uint64_t second = fleet.Contribute("a");
  EXPECT_FALSE(fleet.last.step.has_value());
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");  // a later one tells those that waited
  EXPECT_EQ(fleet.Told(second), "waits");
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Contribute("b");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(second), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
  EXPECT_EQ(fleet.machine.version(), 4u);
}

// --- Workers that come, go, and come back.

TEST(BoundedStalenessTest, JoinersStartAtTheLeastClock) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "b"});
  for (int round = 0; round < 10; ++round) {
    fleet.Contribute("a");
    fleet.Contribute("b");
  }
  fleet.JoinAll({"c"});
  // Nobody waits for ten rounds of c, nor c for anybody.
  fleet.Contribute("a");
  EXPECT_EQ(fleet.num_waiting(), 0u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("c")), "APPLIED 22");
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");  // for b
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 23");
}

TEST(BoundedStalenessTest, ANewIncarnationStartsAtTheLeastClock) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("b");
  fleet.Contribute("b");  // two ahead, and waits
  EXPECT_EQ(fleet.num_waiting(), 1u);
  fleet.JoinAll({"b"});
  EXPECT_EQ(fleet.num_waiting(), 0u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 3");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "waits");
}

TEST(BoundedStalenessTest, NobodyWaitsForOneWhoLeaves) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("b").ok());
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(BoundedStalenessTest, NobodyWaitsForOneWhoIsFenced) {
  Fleet fleet(BoundedStaleness(1));
  fleet.JoinAll({"a", "b", "c"});
  for (int time = 0; time < 2; ++time) fleet.Contribute("a");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.num_waiting(), 1u);
  fleet.JoinAll({"b"});  // and starts at the clock of c
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(BoundedStalenessTest, NobodyWaitsForOneWhoExpired) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Seconds(29));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(BoundedStalenessTest, NobodyWaitsForReaders) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a"});
  EXPECT_TRUE(fleet.Join("reader", /*gradient=*/false).ok());
  for (int round = 0; round < 3; ++round) fleet.Contribute("a");
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(BoundedStalenessTest, AnExpiredWorkerThatComesBackStartsAtTheLeastClock) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  fleet.PassWithHeartbeatsOf({"a"}, absl::Seconds(40));
  for (int round = 0; round < 20; ++round) fleet.Contribute("a");
  EXPECT_EQ(fleet.num_waiting(), 0u);
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 21");  // by one round of b, not by twenty
}

TEST(BoundedStalenessTest, ComingBackDoesNotForgetHowFarAheadAWorkerIs) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  fleet.Break(fleet.Contribute("a"));
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(40));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  const uint64_t a = fleet.Contribute("a");
  EXPECT_FALSE(fleet.last.step.has_value());
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(BoundedStalenessTest, WhoComesWhileNobodyIsLiveDoesNotHoldUpThoseWhoComeBack) {
  Fleet fleet(BoundedStaleness(2));
  fleet.JoinAll({"a"});
  for (int round = 0; round < 100; ++round) fleet.Contribute("a");
  fleet.Pass(absl::Minutes(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
  fleet.JoinAll({"b"});
  // It is not 100 rounds behind a.
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 101");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 102");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 103");
}

TEST(BoundedStalenessTest, AnOlderOneThatComesBackAloneDoesNotEither) {
  Fleet fleet(BoundedStaleness(2));
  fleet.JoinAll({"a", "b"});
  fleet.PassWithHeartbeatsOf({"a"}, absl::Minutes(1));
  for (int round = 0; round < 100; ++round) fleet.Contribute("a");
  fleet.Pass(absl::Minutes(1));
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 101");
}

TEST(BoundedStalenessTest, AHeldWorkerMayLeaveOrBeFenced) {
  for (const bool leaves : {false, true}) {
    Fleet fleet(BoundedStaleness(0));
    fleet.JoinAll({"a", "b"});
    const uint64_t a = fleet.Contribute("a");
    if (leaves) {
      EXPECT_TRUE(fleet.Leave("a").ok());
    } else {
      fleet.JoinAll({"a"});
    }
    EXPECT_EQ(fleet.Told(a), leaves ? "WORKER_NOT_JOINED" : "INCARNATION_FENCED");
    EXPECT_EQ(fleet.Told(fleet.Contribute("b")), leaves ? "APPLIED 2" : "waits");
  }
}

TEST(BoundedStalenessTest, AStrangerInThePlaceOfAHeldWorkerIsNotHeld) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.JoinAll({"c"});  // in its place
  const uint64_t c = fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(c), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(c), "APPLIED 2");
}

TEST(BoundedStalenessTest, AWorkerMayJoinWhileAStepIsTaken) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  const uint64_t a = fleet.Contribute("a");
  fleet.JoinAll({"b"});
  fleet.TakeStep();
  fleet.hold_steps = false;
  EXPECT_EQ(fleet.Told(a), "waits");  // b is one behind by now
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

// --- Progress.

TEST(BoundedStalenessTest, AStalledWorkerNoLongerCounts) {
  AggregationConfig aggregation = BoundedStaleness(0);
  aggregation.progress_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  for (int round = 0; round < 10; ++round) {
    fleet.Contribute("a");
    EXPECT_TRUE(fleet.Heartbeat("b").ok());
  }
  EXPECT_EQ(fleet.num_waiting(), 0u);
  // Its next contribution brings it back, at the least clock.
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "waits");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 13");
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(BoundedStalenessTest, AHeldWorkerIsNotStalled) {
  AggregationConfig aggregation = BoundedStaleness(0);
  aggregation.progress_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Seconds(4));
  fleet.Contribute("b");
  fleet.Pass(absl::Seconds(4));  // c is given up, and a and b go on
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.num_waiting(), 1u);  // for a, whose time runs from its answer
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.num_waiting(), 1u);
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(BoundedStalenessTest, AllMayBeStalled) {
  AggregationConfig aggregation = BoundedStaleness(0);
  aggregation.progress_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.PassWithHeartbeatsOf({"a", "b"}, absl::Minutes(1));
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(BoundedStalenessTest, ARaisedBoundLetsGo) {
  Fleet fleet(BoundedStaleness(0));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Configure(BoundedStaleness(1));
  fleet.Pass(absl::ZeroDuration());  // a tick is due at once
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(BoundedStalenessTest, ALoweredBoundHoldsFromTheNextVerdictOn) {
  Fleet fleet(BoundedStaleness(3));
  fleet.JoinAll({"a", "b"});
  for (int round = 0; round < 3; ++round) fleet.Contribute("a");
  fleet.Configure(BoundedStaleness(0));
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");
  for (int round = 0; round < 3; ++round) fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "APPLIED 4");
}

}  // namespace
}  // namespace talweg::core
