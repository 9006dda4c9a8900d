// SPDX-License-Identifier: Apache-2.0
//
// When a round closes: its rule, once, and with at least one contribution.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(ClosingTest, AllClosesWhenAllLiveMembersHaveContributed) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("c");
  fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 1u);
}

TEST(ClosingTest, ARoundWithNoContributionNeverCloses) {
  for (const AggregationConfig& aggregation :
       {Synchronous(), Count(1, TooFew::kClose), Weight(1, TooFew::kClose), Deadline(1)}) {
    Fleet fleet(aggregation);
    fleet.JoinAll({"a", "b"});
    Contribution broken = fleet.Gradient("a");
    broken.finite = false;
    fleet.Send(broken);
    EXPECT_TRUE(fleet.Leave("a").ok());
    fleet.Pass(absl::Hours(1));
    EXPECT_EQ(fleet.machine.num_live_workers(), 0u);
    EXPECT_TRUE(fleet.orders.empty());
  }
}

TEST(ClosingTest, CountClosesWithThatManyDistinctWorkers) {
  Fleet fleet(Count(2));
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  const uint64_t again = fleet.Contribute("a");  // not another worker
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "PENDING 1");
  EXPECT_EQ(fleet.Told(again), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(ClosingTest, CountTellsWhoCameLate) {
  Fleet fleet(Count(2));
  fleet.JoinAll({"a", "b", "c"});
  const Contribution late = fleet.Gradient("c");
  fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(late)), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.answers[b].report->num_late, 1u);
  EXPECT_EQ(fleet.answers[b].report->late_workers, std::vector<std::string>{"c"});
}

TEST(ClosingTest, ALateOneMayBePartOfTheNextRoundWhereStalenessAllows) {
  AggregationConfig aggregation = Count(2);
  aggregation.max_staleness = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const Contribution late = fleet.Gradient("c");
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t c = fleet.Send(late);
  EXPECT_EQ(fleet.Told(c), "waits");
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(c), "APPLIED 2");
  EXPECT_EQ(fleet.MembersOf(2), "c a");
}

TEST(ClosingTest, WithFewerLiveThanCountARoundWaitsForMore) {
  Fleet fleet(Count(3, TooFew::kWait));
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Contribute("b");
  fleet.Pass(absl::Hours(1));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.JoinAll({"c"});
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ClosingTest, OrWithFewerLiveThanCountItClosesWithThose) {
  Fleet fleet(Count(3, TooFew::kClose));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(ClosingTest, OrItClosesWhenTheOthersAreGone) {
  Fleet fleet(Count(3, TooFew::kClose));
  fleet.JoinAll({"a", "b", "c", "d"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("b").ok());
  fleet.JoinAll({"c"});  // fenced
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(30));  // d expires
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(ClosingTest, WeightClosesWhenTheSumIsReached) {
  Fleet fleet(Weight(10));
  fleet.JoinAll({"a", "b", "c", "d"});
  fleet.Contribute("a", 4);
  fleet.Contribute("b", 5.75);
  EXPECT_EQ(fleet.machine.version(), 0u);
  const uint64_t c = fleet.Contribute("c", 0.25);
  EXPECT_EQ(fleet.Told(c), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  EXPECT_EQ(fleet.OrderOf(1).total_weight, 10);
  EXPECT_EQ(fleet.RecordOf(1).late_workers, std::vector<std::string>{"d"});
}

TEST(ClosingTest, WeightIsSummedExactly) {
  // In float32 the small ones would vanish.
  Fleet fleet(Weight(16777216 + 2));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a", 16777216);
  fleet.Contribute("b", 1);
  EXPECT_EQ(fleet.machine.version(), 0u);
  fleet.Contribute("c", 1);
  EXPECT_EQ(fleet.machine.version(), 1u);
}

TEST(ClosingTest, WithTooLittleWeightARoundWaitsOrCloses) {
  for (const TooFew too_few : {TooFew::kWait, TooFew::kClose}) {
    Fleet fleet(Weight(100, too_few));
    fleet.JoinAll({"a", "b"});
    fleet.Contribute("a", 1);
    const uint64_t b = fleet.Contribute("b", 1);
    EXPECT_EQ(fleet.Told(b), too_few == TooFew::kWait ? "waits" : "APPLIED 1");
    fleet.JoinAll({"c"});
    fleet.Contribute("c", 98);
    EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  }
}

TEST(ClosingTest, DeadlineCountsFromTheFirstContribution) {
  Fleet fleet(Deadline(2.5));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Pass(absl::Seconds(10));
  const absl::Time first = fleet.now;
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.NextTick(), first + absl::Seconds(2.5));
  fleet.Pass(absl::Seconds(2));
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.NextTick(), first + absl::Seconds(2.5));
  fleet.Pass(absl::Milliseconds(499));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Milliseconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.RecordOf(1).late_workers, std::vector<std::string>{"c"});
}

TEST(ClosingTest, DeadlineClosesEarlyWhenAllHaveContributed) {
  Fleet fleet(Deadline(60));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  EXPECT_GT(fleet.machine.NextTick(), fleet.now + absl::Seconds(20));  // leases only
}

TEST(ClosingTest, ADeadlineIsOfItsRoundOnly) {
  Fleet fleet(Deadline(10));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Pass(absl::Seconds(10));
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Pass(absl::Seconds(5));
  fleet.Contribute("b");
  fleet.Pass(absl::Seconds(6));
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Pass(absl::Seconds(4));
  EXPECT_EQ(fleet.machine.version(), 2u);
}

TEST(ClosingTest, QueuedInputComesBeforeTimers) {
  // A contribution that is handed in when the deadline has passed, before its tick, still counts.
  Fleet fleet(Deadline(1));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.now += absl::Seconds(5);
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(ClosingTest, ARoundClosesOnce) {
  Fleet fleet(Deadline(1));
  fleet.JoinAll({"a", "b"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.orders.size(), 1u);
  // Workers come and go while its step is taken.
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.JoinAll({"c", "b"});
  EXPECT_TRUE(fleet.Leave("c").ok());
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_EQ(fleet.orders.size(), 1u);
  fleet.TakeStep();
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
}

TEST(ClosingTest, WhoFindsAStagedRoundFullIsNotWaitedFor) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduction = Reduction::kMedian;
  aggregation.max_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.JoinAll({"c"});
  const uint64_t c = fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(c), "waits");
  const uint64_t b = fleet.Contribute("b");  // there is memory for two
  EXPECT_FALSE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(c), "APPLIED 1");
  EXPECT_EQ(fleet.Told(b), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a c");
}

TEST(ClosingTest, AStagedRoundThatIsFullCloses) {
  // No contribution that comes could be folded: to wait for more weight would be to wait for ever.
  AggregationConfig aggregation = Weight(100);
  aggregation.reduce_order = ReduceOrder::kByWorker;
  aggregation.max_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
}

// Workers that join, contribute and leave under ever new names.
TEST(ClosingTest, NoRoundHasMoreThanKMaxWorkersContributions) {
  RoundMachine machine(7, Configure{RateOf(0.5), Weight(1), 1});
  const absl::Time now = absl::UnixEpoch();
  Contribution contribution;
  contribution.history = 7;
  contribution.finite = true;
  contribution.sequence = 1;
  contribution.weight = 1e-30f;
  Effects effects;
  for (uint64_t count = 1; machine.version() == 0; ++count) {
    ASSERT_LE(count, AggregationConfig::kMaxWorkers);
    contribution.worker = "w" + std::to_string(count);
    contribution.incarnation = count;
    contribution.ticket = count;
    machine.Handle(Join{contribution.worker, count}, now);
    effects = machine.Handle(contribution, now);
    if (effects.step.has_value()) {
      EXPECT_EQ(count, AggregationConfig::kMaxWorkers);
      machine.Handle(StepTaken{}, now);
    }
    machine.Handle(Leave{7, contribution.worker, count}, now);
  }
}

TEST(ClosingTest, WhoKeepsAskingWhileTheRoundIsOpenCrowdsNobodyOut) {
  Fleet fleet(Count(3));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t waits = fleet.Contribute("b");
  Contribution again = fleet.Gradient("a");
  for (int tries = 0; tries < 200; ++tries) {
    ++again.sequence;
    again.may_wait = false;
    fleet.Send(again);
    EXPECT_EQ(fleet.last.answer->verdict, Verdict::kPending);
  }
  EXPECT_EQ(fleet.Told(waits), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(waits), "ROUND_CLOSED 1");
  fleet.Send(again);
  EXPECT_EQ(fleet.last.answer->verdict, Verdict::kRoundClosed);
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
}

// --- A worker that closes the round.

TEST(AskedToCloseTest, ARoundClosesWithTheContributionThatAsks) {
  AggregationConfig aggregation = Synchronous();
  aggregation.workers_may_close = true;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t first = fleet.Contribute("a");
  Contribution last = fleet.Gradient("b");
  last.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(last)), "APPLIED 1");
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 2u);
  EXPECT_EQ(fleet.RecordOf(1).num_late, 1u);
}

TEST(AskedToCloseTest, TheFirstRoundStillWaitsForMinWorkers) {
  AggregationConfig aggregation = Synchronous();
  aggregation.workers_may_close = true;
  aggregation.min_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  Contribution only = fleet.Gradient("a");
  only.closes_round = true;
  const uint64_t call = fleet.Send(only);
  EXPECT_EQ(fleet.Told(call), "waits");
  fleet.JoinAll({"b"});
  EXPECT_EQ(fleet.Told(call), "APPLIED 1");
}

TEST(AskedToCloseTest, IsAnErrorUnlessThePolicyLetsWorkersClose) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution only = fleet.Gradient("a");
  only.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(only)), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(FieldName(fleet.last.status), "header.closes_round");
  EXPECT_EQ(fleet.machine.num_folded(), 0u);
}

}  // namespace
}  // namespace talweg::core
