// SPDX-License-Identifier: Apache-2.0
//
// How many workers a session takes, and whose place a new one gets.
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

TEST(AdmissionTest, ZeroStandsForAsManyAsASessionMayHave) {
  AggregationConfig aggregation;
  EXPECT_EQ(aggregation.worker_limit(), 131072u);
  aggregation.max_workers = 7;
  EXPECT_EQ(aggregation.worker_limit(), 7u);
}

}  // namespace
}  // namespace talweg::core
