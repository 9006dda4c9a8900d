// SPDX-License-Identifier: Apache-2.0
//
// The asynchronous mode: every contribution makes a version, or every few of them do.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(AsynchronousTest, EveryContributionMakesAVersionAtOnce) {
  AggregationConfig aggregation;
  aggregation.max_staleness = 10;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const Contribution slow = fleet.Gradient("b");
  for (uint64_t version = 1; version <= 5; ++version) {
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("APPLIED ", version));
    EXPECT_FALSE(fleet.last.fold);
  }
  EXPECT_EQ(fleet.Told(fleet.Send(slow)), "APPLIED 6");
  EXPECT_EQ(fleet.machine.last_step()->staleness, 5u);
  EXPECT_EQ(fleet.num_waiting(), 0u);
}

TEST(AsynchronousTest, TheClosingCallWaitsForItsStepAlone) {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  const uint64_t call = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(call), "waits");
  fleet.TakeStep();
  EXPECT_EQ(fleet.Told(call), "APPLIED 1");
}

TEST(AccumulationTest, AllButTheLastArePendingAtOnce) {
  Fleet fleet(Accumulating(3));
  fleet.JoinAll({"a", "b"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 1");
  EXPECT_TRUE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "PENDING 1");
  EXPECT_EQ(fleet.machine.num_folded(), 2u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
  EXPECT_TRUE(fleet.last.fold);
  EXPECT_EQ(fleet.MembersOf(1), "a b a");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 3u);
  EXPECT_EQ(fleet.machine.num_folded(), 0u);
}

TEST(AccumulationTest, AnUnfinishedWindowIsClosedWithWhatCame) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a"});
  for (int time = 0; time < 2; ++time) EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 1");
  Contribution last = fleet.Gradient("a");
  last.closes_round = true;
  last.weight = 0.5;
  EXPECT_EQ(fleet.Told(fleet.Send(last)), "APPLIED 1");
  EXPECT_EQ(fleet.OrderOf(1).contributors, 3u);
  EXPECT_EQ(fleet.OrderOf(1).total_weight, 2.5);
  EXPECT_EQ(fleet.Told(fleet.Send(last)), "again APPLIED 1");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 2");  // the next window is whole again
  Contribution alone = fleet.Gradient("a");
  alone.closes_round = true;
  EXPECT_EQ(fleet.Told(fleet.Send(alone)), "APPLIED 2");
  EXPECT_EQ(fleet.OrderOf(2).contributors, 2u);
}

TEST(AccumulationTest, ARefusedContributionClosesNoWindow) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  Contribution last = fleet.Gradient("a");
  last.closes_round = true;
  last.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(last)), "REJECTED_NON_FINITE 0");
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
}

TEST(AccumulationTest, OneWorkerMayContributeAllOfThem) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a"});
  for (int round = 1; round <= 3; ++round) {
    for (int time = 0; time < 3; ++time) {
      EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("PENDING ", round));
    }
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("APPLIED ", round));
  }
}

TEST(AccumulationTest, ARepeatOfAPendingOneIsToldWhatBecameOfIt) {
  Fleet fleet(Accumulating(2));
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again PENDING 1");
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
  const uint64_t b = fleet.Contribute("b");
  const uint64_t again = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(again), "again APPLIED 1");
  EXPECT_EQ(fleet.answers[again].report, fleet.answers[b].report);
}

TEST(AccumulationTest, OnlyTheLastOfAWorkersSequencesIsRemembered) {
  Fleet fleet(Accumulating(3));
  fleet.JoinAll({"a"});
  const Contribution first = fleet.Gradient("a");
  fleet.Send(first);
  const Contribution second = fleet.Gradient("a");
  fleet.Send(second);
  EXPECT_EQ(fleet.Told(fleet.Send(first)), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(fleet.Told(fleet.Send(second)), "again PENDING 1");
  const Contribution third = fleet.Gradient("a");
  fleet.Send(third);
  EXPECT_EQ(fleet.Told(fleet.Send(second)), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(fleet.Told(fleet.Send(third)), "again APPLIED 1");
}

TEST(AccumulationTest, ARefusedOneIsNotCounted) {
  Fleet fleet(Accumulating(2));
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  Contribution broken = fleet.Gradient("a");
  broken.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "REJECTED_NON_FINITE 0");
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
}

TEST(AccumulationTest, NobodyIsWaitedFor) {
  Fleet fleet(Accumulating(2));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("b").ok());
  fleet.Pass(absl::Hours(1));
  EXPECT_EQ(fleet.machine.num_folded(), 1u);  // what was folded stays
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 1");
}

TEST(AccumulationTest, WhoContributedMayLeaveAndJoinAgain) {
  Fleet fleet(Accumulating(4));
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 1");
  EXPECT_TRUE(fleet.Leave("a").ok());
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a a a b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
  fleet.JoinAll({"a"});
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "PENDING 2");
}

TEST(AccumulationTest, AStepOfAccumulatedGradientsIsAsStaleAsItsOldest) {
  AggregationConfig aggregation = Accumulating(2);
  aggregation.max_staleness = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a"});
  for (int time = 0; time < 6; ++time) fleet.Contribute("a");
  Contribution old = fleet.Gradient("a");
  old.base_version = 1;
  fleet.Send(old);
  fleet.Contribute("a");
  EXPECT_EQ(fleet.machine.last_step()->staleness, 2u);
}

}  // namespace
}  // namespace talweg::core
