// SPDX-License-Identifier: Apache-2.0
//
// How many workers a session takes, and which place a new worker gets.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

AggregationConfig AtMost(AggregationConfig aggregation, uint64_t workers) {
  aggregation.max_workers = workers;
  aggregation.max_staleness =
      aggregation.mode == AggregationMode::kAsynchronous ? workers : aggregation.max_staleness;
  return aggregation;
}

TEST(AdmissionTest, MoreWorkersThanAllowedAreRefused) {
  Fleet fleet(AtMost(AggregationConfig{}, 2));
  fleet.JoinAll({"a", "b"});
  const std::string before = fleet.Bytes();
  EXPECT_EQ(ReasonName(fleet.Join("c")), "TOO_MANY_WORKERS");
  EXPECT_TRUE(fleet.Bytes() == before);
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
  // A new incarnation is no new worker.
  EXPECT_TRUE(fleet.Join("a").ok());
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_TRUE(fleet.Join("c").ok());
}

TEST(AdmissionTest, ANewWorkerTakesThePlaceOfTheOneSilentForLongest) {
  Fleet fleet(AtMost(AggregationConfig{}, 3));
  fleet.JoinAll({"a", "b", "c"});
  fleet.Pass(absl::Seconds(5));
  EXPECT_TRUE(fleet.Heartbeat("a").ok());
  fleet.Pass(absl::Seconds(60));
  EXPECT_TRUE(fleet.Heartbeat("c").ok());
  EXPECT_TRUE(fleet.Join("d").ok());  // in the place of b
  EXPECT_EQ(ReasonName(fleet.Heartbeat("b")), "WORKER_NOT_JOINED");
  EXPECT_EQ(fleet.machine.num_workers(), 3u);
  EXPECT_TRUE(fleet.Join("e").ok());  // in the place of a
  EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "WORKER_NOT_JOINED");
  EXPECT_EQ(ReasonName(fleet.Join("f")), "TOO_MANY_WORKERS");
}

TEST(AdmissionTest, OfTwoSilentForAsLongTheFirstNameGoes) {
  Fleet fleet(AtMost(AggregationConfig{}, 2));
  fleet.JoinAll({"b", "a"});
  fleet.Pass(absl::Seconds(60));
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "WORKER_NOT_JOINED");
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
}

TEST(AdmissionTest, WhoLeftTakesNoPlaceEvenWhereItsContributionIsInTheOpenRound) {
  AggregationConfig aggregation = AtMost(Synchronous(CloseRule::kWeight), 2);
  aggregation.close_weight = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");  // for more weight than the two have
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(ReasonName(fleet.Join("d")), "TOO_MANY_WORKERS");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
}

TEST(AdmissionTest, AnExpiredWorkerGivesWayEvenWhereItsContributionIsInTheOpenRound) {
  AggregationConfig aggregation = AtMost(Synchronous(CloseRule::kWeight), 2);
  aggregation.close_weight = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Break(fleet.Contribute("a"));
  fleet.Break(fleet.Contribute("b"));
  fleet.Pass(absl::Minutes(1));  // both expire: without new ones the round would never close
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(ReasonName(fleet.Heartbeat("a")), "WORKER_NOT_JOINED");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
  EXPECT_TRUE(fleet.Heartbeat("b").ok());
}

TEST(AdmissionTest, WhoGaveWayCountsOnceARoundAllTheSame) {
  AggregationConfig aggregation = AtMost(Synchronous(CloseRule::kWeight), 2);
  aggregation.close_weight = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Break(fleet.Contribute("a"));
  fleet.PassWithHeartbeatsOf({"b"}, absl::Minutes(1));
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_TRUE(fleet.Leave("c").ok());
  EXPECT_TRUE(fleet.Join("a").ok());
  const uint64_t again = fleet.Contribute("a");
  EXPECT_FALSE(fleet.last.fold);
  fleet.Contribute("b", 2);
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.Told(again), "ROUND_CLOSED 1");
}

TEST(AdmissionTest, AWorkerMayGiveWayWhileTheStepItIsPartOfIsTaken) {
  AggregationConfig aggregation = AtMost(Synchronous(), 2);
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Break(fleet.Contribute("a"));
  fleet.PassWithHeartbeatsOf({"b"}, absl::Minutes(1));
  fleet.hold_steps = true;
  fleet.Contribute("b");
  EXPECT_TRUE(fleet.Join("c").ok());  // in the place of a
  fleet.TakeStep();
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
}

TEST(AdmissionTest, WhoLeftBeforeItsStepIsForgottenThough) {
  AggregationConfig aggregation = AtMost(Synchronous(), 2);
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.hold_steps = true;
  fleet.Contribute("b");
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(ReasonName(fleet.Join("d")), "TOO_MANY_WORKERS");
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
  fleet.TakeStep();
  EXPECT_EQ(fleet.machine.num_workers(), 2u);
}

TEST(AdmissionTest, WhoLeftComesBackAsANewWorker) {
  AggregationConfig aggregation = AtMost(Synchronous(CloseRule::kWeight), 2);
  aggregation.close_weight = 3;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_TRUE(fleet.Join("c").ok());
  EXPECT_EQ(ReasonName(fleet.Join("a")), "TOO_MANY_WORKERS");  // b and c have the places
  EXPECT_TRUE(fleet.Leave("c").ok());
  EXPECT_TRUE(fleet.Join("a").ok());
}

TEST(AdmissionTest, ZeroStandsForAsManyAsASessionMayHave) {
  AggregationConfig aggregation;
  EXPECT_EQ(aggregation.worker_limit(), 131072u);
  aggregation.max_workers = 7;
  EXPECT_EQ(aggregation.worker_limit(), 7u);
}

TEST(AdmissionTest, AnOddCrowdComesAndGoesWithoutATrace) {
  AggregationConfig aggregation = AtMost(Synchronous(), 8);
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int number = 0; number < 500; ++number) {
    const std::string name = absl::StrCat("visitor ", number);
    EXPECT_TRUE(fleet.Join(name).ok());
    if (number % 3 == 0) fleet.Contribute(name);
    if (number % 2 == 0) {
      EXPECT_TRUE(fleet.Leave(name).ok());
    }
    fleet.PassWithHeartbeatsOf({"a"}, absl::Seconds(15));
    fleet.Contribute("a");
    EXPECT_LE(fleet.machine.num_workers(), 8u);
  }
}

}  // namespace
}  // namespace talweg::core
