// SPDX-License-Identifier: Apache-2.0
//
// When a round opens, and which workers it expects then.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(OpeningTest, OpensWithItsFirstContribution) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  // Before that, every worker that comes is expected, and none is late.
  fleet.Pass(absl::Seconds(20));
  fleet.JoinAll({"c"});
  const uint64_t a = fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
}

TEST(OpeningTest, MembershipIsFrozenWhenARoundOpens) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.JoinAll({"c"});
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.RecordOf(1).num_late, 0u);
  // It is expected in the next one.
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.version(), 1u);
  fleet.Contribute("c");
  EXPECT_EQ(fleet.machine.version(), 2u);
}

TEST(OpeningTest, WhoIsNotExpectedMayContribute) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.JoinAll({"c"});
  const uint64_t c = fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(c), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(c), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a c b");
}

TEST(OpeningTest, WhoComesBackIsNotExpectedInTheOpenRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.PassWithHeartbeatsOf({"a", "b"}, absl::Seconds(40));  // c expires
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Heartbeat("c").ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
}

TEST(OpeningTest, FirstVersionIsNotBegunBeforeMinWorkersAreLive) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "waits");
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.Pass(absl::Hours(1));
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.JoinAll({"c"});
  EXPECT_EQ(fleet.Told(b), "waits");  // for c, which is expected
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  // Later rounds begin with the workers that are live.
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_TRUE(fleet.Leave("b").ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("c")), "APPLIED 2");
}

TEST(OpeningTest, MinWorkersCountsGradientWorkersThatAreLive) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  EXPECT_TRUE(fleet.Join("reader", /*gradient=*/false).ok());
  const uint64_t a = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.JoinAll({"b"});
  EXPECT_TRUE(fleet.Leave("b").ok());
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");  // they were enough, and nobody else is expected now
}

TEST(OpeningTest, AnExpiredWorkerThatComesBackMayBeTheOneThatWasMissing) {
  // By a heartbeat, a contribution, a repeat, or a contribution that is an error.
  for (const absl::string_view by : {"heartbeat", "contribution", "repeat", "error"}) {
    SCOPED_TRACE(std::string(by));
    AggregationConfig aggregation = Synchronous();
    aggregation.min_workers = 2;
    Fleet fleet(aggregation);
    fleet.JoinAll({"b"});
    Contribution of_b = fleet.Gradient("b");
    of_b.may_wait = false;
    if (by != "contribution") fleet.Send(of_b);
    fleet.Pass(absl::Seconds(40));  // b expires
    fleet.JoinAll({"a"});
    const uint64_t a = fleet.Contribute("a");
    EXPECT_EQ(fleet.Told(a), "waits");
    if (by == "heartbeat") {
      EXPECT_TRUE(fleet.Heartbeat("b").ok());
    } else if (by == "error") {
      Contribution ahead = fleet.Gradient("b");
      ahead.base_version = 9;
      EXPECT_EQ(fleet.Told(fleet.Send(ahead)), "VERSION_AHEAD");
    } else {
      fleet.Send(of_b);
    }
    fleet.Pass(absl::ZeroDuration());  // what is due by now
    EXPECT_EQ(fleet.Told(a), "APPLIED 1");
    EXPECT_EQ(fleet.MembersOf(1), by == "contribution" ? "a b" : "b a");
  }
}

TEST(OpeningTest, WhoLeavesDoesNotOpenTheFirstRoundByIt) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"b"});
  fleet.Pass(absl::Seconds(40));
  fleet.JoinAll({"a"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("b").ok());  // which had expired
  fleet.Pass(absl::ZeroDuration());
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(OpeningTest, ContributionsBeforeTheRoundOpensCountOnceToo) {
  AggregationConfig aggregation = Synchronous();
  aggregation.min_workers = 2;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  const uint64_t again = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(again), "waits");
  fleet.JoinAll({"a", "b"});  // a as a new incarnation
  EXPECT_EQ(fleet.Told(again), "INCARNATION_FENCED");
  const uint64_t anew = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  EXPECT_EQ(fleet.Told(anew), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

// Two came, contributed and left before enough were there at the same time.
TEST(OpeningTest, WhoFindsTheRoundFullIsNotWaitedForWhenItOpens) {
  AggregationConfig aggregation = Synchronous();
  aggregation.reduction = Reduction::kMedian;
  aggregation.max_workers = 2;
  aggregation.min_workers = 2;
  Fleet fleet(aggregation);
  for (const char* worker : {"a", "b"}) {
    fleet.JoinAll({worker});
    fleet.Contribute(worker);
    EXPECT_TRUE(fleet.Leave(worker).ok());
  }
  fleet.JoinAll({"c"});
  const uint64_t c = fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(c), "waits");
  fleet.JoinAll({"d"});
  const uint64_t d = fleet.Contribute("d");
  EXPECT_EQ(fleet.Told(c), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.Told(d), "ROUND_CLOSED 1");
}

}  // namespace
}  // namespace talweg::core
