// SPDX-License-Identifier: Apache-2.0
//
// Leases: what renews one, what its end means, and when a tick is due.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

AggregationConfig WithLease(AggregationConfig aggregation, uint64_t seconds) {
  aggregation.lease_seconds = seconds;
  return aggregation;
}

TEST(LeaseTest, RunsFromTheLastSignOfLife) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  fleet.Pass(absl::Milliseconds(9999));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  fleet.Pass(absl::Milliseconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
}

TEST(LeaseTest, AnyMessageRenews) {
  Fleet fleet(WithLease(AggregationConfig{}, 10));
  fleet.JoinAll({"a"});
  const Contribution contribution = fleet.Gradient("a");
  Contribution ahead = fleet.Gradient("a");
  ahead.base_version = 9;
  for (const Contribution& message : {contribution, contribution, ahead}) {
    fleet.Pass(absl::Seconds(9));
    fleet.Send(message);  // a contribution, its repeat, an error
  }
  fleet.Pass(absl::Seconds(9));
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.Pass(absl::Seconds(9));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
}

TEST(LeaseTest, AMessageOfAnotherHistoryRenewsNothing) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a"});
  fleet.Pass(absl::Seconds(9));
  EXPECT_FALSE(fleet.Do(Heartbeat{1, "a", fleet.incarnation("a")}).status.ok());
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
}

TEST(LeaseTest, ExpiredWorkerLeavesTheDenominator) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Seconds(10));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 1u);
  EXPECT_EQ(fleet.OrderOf(1).total_weight, 1);
  EXPECT_EQ(fleet.RecordOf(1).num_late, 0u);  // it is not live
  // Nobody waits for it in the next round.
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(LeaseTest, NoRoundWaitsForAnExpiredWorkerLongerThanItsLease) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Pass(absl::Seconds(4));
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
  const uint64_t a = fleet.Contribute("a");
  fleet.Pass(absl::Seconds(6));  // c expires
  EXPECT_EQ(fleet.Told(a), "waits");
  EXPECT_EQ(fleet.machine.NextTick(), fleet.now + absl::Seconds(4));
  fleet.Pass(absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(LeaseTest, AnExpiredWorkerIsNotFencedAndMayGoOn) {
  for (const AggregationConfig& mode : {AggregationConfig{}, Synchronous(), BoundedStaleness(1)}) {
    Fleet fleet(WithLease(mode, 10));
    fleet.JoinAll({"a"});
    const Contribution first = fleet.Gradient("a");
    EXPECT_EQ(fleet.Told(fleet.Send(first)), "APPLIED 1");
    fleet.Pass(absl::Hours(3));
    EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
    EXPECT_EQ(fleet.Told(fleet.Send(first)), "again APPLIED 1");
    EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
    fleet.Pass(absl::Hours(3));
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
    fleet.Pass(absl::Hours(3));
    EXPECT_TRUE(fleet.Heartbeat("a").ok());
    EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  }
}

TEST(LeaseTest, AnExpiredWorkersContributionStillCounts) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b", "c"});
  fleet.PassWithHeartbeatsOf({"b", "c"}, absl::Seconds(11));
  fleet.Contribute("b");
  const uint64_t a = fleet.Contribute("a");
  EXPECT_TRUE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(a), "waits");  // for c alone
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "b a c");
}

TEST(LeaseTest, AParkedCallKeepsItsWorkerAlive) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Minutes(5));
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(LeaseTest, ALeaseRunsAnewFromTheAnswerToAParkedCall) {
  // Whenever that comes, its worker has a whole lease to take the next gradient.
  for (int tenths = 0; tenths < 100; tenths += 7) {
    Fleet fleet(WithLease(Synchronous(), 10));
    fleet.JoinAll({"a", "b"});
    const uint64_t a = fleet.Contribute("a");
    fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(12));
    fleet.Pass(absl::Seconds(0.1 * tenths) / 2);
    fleet.Contribute("b");
    ASSERT_EQ(fleet.Told(a), "APPLIED 1");
    fleet.Pass(absl::Milliseconds(9999));
    EXPECT_EQ(fleet.machine.num_live_workers(), 2u) << tenths;
    fleet.Pass(absl::Milliseconds(1));
    EXPECT_EQ(fleet.machine.num_live_workers(), 0u) << tenths;
  }
}

TEST(LeaseTest, ALeaseRunsAnewFromTheEndOfAParkedCall) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(25));
  fleet.Break(a);
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(9));
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
}

TEST(LeaseTest, OneOfTwoParkedCallsKeepsItsWorkerAlive) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  fleet.Send(contribution);
  fleet.Break(first);
  fleet.PassWithHeartbeatsOf({"b"}, absl::Minutes(5));
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
}

TEST(LeaseTest, IsJudgedByTheTimeOfTheTickNotByAReading) {
  // A clock that is read backwards moves nothing.
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  fleet.Pass(absl::Seconds(8));
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.now -= absl::Hours(1);
  EXPECT_TRUE(fleet.Heartbeat("b").ok());  // as of the latest time that was seen
  fleet.Do(Tick{});
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  fleet.now += absl::Hours(1);
  fleet.Pass(absl::Seconds(9));
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
}

TEST(LeaseTest, QueuedInputComesBeforeTimers) {
  // A heartbeat that is handed in before the tick renews, however late it is.
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  const uint64_t b = fleet.Contribute("b");
  fleet.now += absl::Seconds(60);
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.Do(Tick{});
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  EXPECT_EQ(fleet.Told(b), "waits");
}

TEST(LeaseTest, ATickThatComesEarlyOrOftenDoesNothing) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  const std::string before = fleet.Bytes();
  for (int time = 0; time < 50; ++time) {
    fleet.now += absl::Milliseconds(100);
    const Effects effects = fleet.Do(Tick{});
    EXPECT_TRUE(effects.status.ok() && effects.released.empty() && !effects.step.has_value());
  }
  EXPECT_EQ(fleet.machine.num_live_workers(), 2u);
  EXPECT_TRUE(fleet.Bytes() == before);
}

TEST(LeaseTest, ATickThatComesLateStillDoesEverything) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  fleet.now += absl::Hours(1);
  fleet.Do(Tick{});
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(LeaseTest, NothingIsDueWithoutLiveWorkers) {
  Fleet fleet(WithLease(Synchronous(), 10));
  EXPECT_EQ(fleet.machine.NextTick(), absl::InfiniteFuture());
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.machine.NextTick(), fleet.now + absl::Seconds(10));
  fleet.Pass(absl::Minutes(1));
  EXPECT_EQ(fleet.machine.NextTick(), absl::InfiniteFuture());
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  EXPECT_EQ(fleet.machine.NextTick(), fleet.now + absl::Seconds(10));
}

TEST(LeaseTest, HeartbeatsCostNoTicks) {
  Fleet fleet(WithLease(Synchronous(), 10));
  fleet.JoinAll({"a"});
  for (int second = 0; second < 100; ++second) {
    fleet.now += absl::Seconds(0.1);
    EXPECT_TRUE(fleet.Heartbeat("a").ok());
  }
  // One alarm, set when it joined, and that one rings early.
  EXPECT_LE(fleet.machine.NextTick(), fleet.now);
  fleet.Do(Tick{});
  EXPECT_EQ(fleet.machine.NextTick(), fleet.now + absl::Seconds(10));
}

TEST(LeaseTest, AWorkerThatIsSlowerThanItsLeaseIsToldSo) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"quick", "slow"});
  for (uint32_t round = 1; round <= 2; ++round) {
    const Contribution gradient = fleet.Gradient("slow");
    fleet.Contribute("quick");
    for (int second = 0; second < 31; ++second) {
      fleet.Pass(absl::Seconds(1));
      EXPECT_TRUE(fleet.Heartbeat("quick").ok());
    }
    ASSERT_EQ(fleet.machine.version(), round);
    EXPECT_EQ(fleet.RecordOf(round).num_expired, 1u);
    fleet.Send(gradient);
    EXPECT_EQ(fleet.last.answer->verdict, Verdict::kRoundClosed);
    EXPECT_EQ(fleet.last.answer->missed_rounds, round);
    EXPECT_EQ(fleet.last.answer->advice, Advice::kSendHeartbeats);
  }
  fleet.Contribute("slow");
  fleet.Contribute("quick");
  ASSERT_EQ(fleet.MembersOf(3), "slow quick");
  const Contribution old = fleet.Gradient("slow");
  fleet.Contribute("slow");
  fleet.Contribute("quick");
  Contribution again = old;
  again.sequence += 5;
  fleet.Send(again);
  EXPECT_EQ(fleet.last.answer->missed_rounds, 0u);  // it came in time again
  EXPECT_EQ(fleet.last.answer->advice, Advice::kNone);
}

TEST(LeaseTest, AWorkerThatRoundsDoNotWaitForIsToldToBeFaster) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const Contribution late = fleet.Gradient("b");
  fleet.Contribute("a");
  fleet.Send(late);
  EXPECT_EQ(fleet.last.answer->missed_rounds, 1u);
  EXPECT_EQ(fleet.last.answer->advice, Advice::kBeFaster);
}

// Also those for which it was not waited, because its lease had ended before.
TEST(LeaseTest, EveryRoundThatClosedWithoutAWorkerIsMissed) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  const Contribution late = fleet.Gradient("b");
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(31));  // b expires
  for (int round = 3; round <= 50; ++round) fleet.Contribute("a");
  ASSERT_EQ(fleet.machine.version(), 50u);
  fleet.Send(late);
  EXPECT_EQ(fleet.last.answer->missed_rounds, 49u);
  EXPECT_EQ(fleet.last.answer->advice, Advice::kSendHeartbeats);
  // A worker that joins later has missed nothing before.
  fleet.JoinAll({"c"});
  Contribution old = fleet.Gradient("c");
  old.base_version = 49;
  fleet.Send(old);
  EXPECT_EQ(fleet.last.answer->missed_rounds, 0u);
}

TEST(LeaseTest, AGradientThatIsOlderThanTheSessionAllowsIsToldWhatToRaise) {
  AggregationConfig aggregation;
  aggregation.max_staleness = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const Contribution old = fleet.Gradient("b");
  for (int step = 0; step < 5; ++step) fleet.Contribute("a");
  fleet.Send(old);
  EXPECT_EQ(fleet.last.answer->verdict, Verdict::kTooStale);
  EXPECT_EQ(fleet.last.answer->advice, Advice::kAllowStaleness);
  EXPECT_EQ(fleet.last.answer->missed_rounds, 0u);  // there are no rounds
}

TEST(LeaseTest, SeveralWorkersInASessionForOneAreToldSo) {
  Fleet fleet(AggregationConfig{});
  fleet.JoinAll({"a", "b"});
  const Contribution old = fleet.Gradient("b");
  fleet.Contribute("a");
  fleet.Send(old);
  EXPECT_EQ(fleet.last.answer->verdict, Verdict::kTooStale);
  EXPECT_EQ(fleet.last.answer->advice, Advice::kAllowStaleness);
}

}  // namespace
}  // namespace talweg::core
