// SPDX-License-Identifier: Apache-2.0
//
// Exactly-once: sequences, repeats, what is pending and what is an acknowledgement.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

// One trainer: every contribution is a version.
Fleet OneTrainer() {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a"});
  return fleet;
}

// Sends what must be answered without a trace in the saved state.
std::string ToldWithoutTrace(Fleet& fleet, const Contribution& contribution) {
  const std::string before = fleet.Bytes();
  const uint64_t ticket = fleet.Send(contribution);
  EXPECT_TRUE(fleet.Bytes() == before);
  EXPECT_FALSE(fleet.last.fold);
  EXPECT_FALSE(fleet.last.step.has_value());
  return fleet.Told(ticket);
}

TEST(SequenceTest, GapsAreAllowed) {
  Fleet fleet = OneTrainer();
  for (const uint64_t sequence : {3u, 4u, 1000u}) {
    Contribution contribution = fleet.Gradient("a");
    contribution.sequence = sequence;
    fleet.Send(contribution);
  }
  EXPECT_EQ(fleet.machine.version(), 3u);
}

TEST(SequenceTest, ARepeatGetsTheSameAnswerAndCountsOnce) {
  Fleet fleet = OneTrainer();
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
  for (int time = 0; time < 3; ++time) {
    EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again APPLIED 1");
  }
  EXPECT_EQ(fleet.last.answer->report, fleet.answers[first].report);
  EXPECT_EQ(fleet.machine.version(), 1u);
}

TEST(SequenceTest, ARepeatGetsTheSameAnswerHoweverMuchLater) {
  AggregationConfig aggregation = Synchronous(CloseRule::kCount);
  aggregation.close_count = 1;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  for (int version = 2; version < 5; ++version) fleet.Contribute("b");
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again APPLIED 1");
  EXPECT_EQ(fleet.last.answer->report, fleet.answers[first].report);
}

TEST(SequenceTest, EveryVerdictIsRepeated) {
  AggregationConfig aggregation;
  aggregation.max_staleness = 1;
  for (const absl::string_view verdict : {"TOO_STALE", "REJECTED_NON_FINITE", "ROUND_CLOSED"}) {
    if (verdict == "ROUND_CLOSED") aggregation = Synchronous();
    Fleet fleet(aggregation);
    fleet.JoinAll({"a"});
    for (int version = 0; version < 2; ++version) fleet.Contribute("a");
    Contribution contribution = fleet.Gradient("a");
    if (verdict == "REJECTED_NON_FINITE") {
      contribution.finite = false;
    } else {
      contribution.base_version = 0;
    }
    EXPECT_EQ(fleet.Told(fleet.Send(contribution)), absl::StrCat(verdict, " 2"));
    fleet.Contribute("a");  // of a later sequence
    EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "SEQUENCE_TOO_OLD");
    contribution.sequence += 2;
    EXPECT_EQ(fleet.Told(fleet.Send(contribution)), absl::StrCat(verdict, " 3"));
    EXPECT_EQ(ToldWithoutTrace(fleet, contribution), absl::StrCat("again ", verdict, " 3"));
  }
}

TEST(SequenceTest, EveryVerdictConsumesItsSequence) {
  Fleet fleet = OneTrainer();
  Contribution contribution = fleet.Gradient("a");
  contribution.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "REJECTED_NON_FINITE 0");
  contribution.finite = true;
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again REJECTED_NON_FINITE 0");
  contribution.digest += 1;
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "SEQUENCE_REUSED");
  EXPECT_EQ(fleet.machine.version(), 0u);
}

TEST(SequenceTest, ErrorsConsumeNone) {
  Fleet fleet = OneTrainer();
  Contribution contribution = fleet.Gradient("a");
  contribution.base_version = 1;
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "VERSION_AHEAD");
  EXPECT_EQ(FieldName(fleet.last.status), "header.base_version");
  contribution.base_version = 0;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "APPLIED 1");
}

TEST(SequenceTest, AnotherPayloadUnderTheSameSequenceIsReused) {
  Fleet fleet = OneTrainer();
  Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  contribution.digest ^= 1;
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "SEQUENCE_REUSED");
  EXPECT_EQ(FieldName(fleet.last.status), "header.sequence");
}

TEST(SequenceTest, ASmallerSequenceIsTooOld) {
  Fleet fleet = OneTrainer();
  const Contribution first = fleet.Gradient("a");
  const Contribution second = fleet.Gradient("a");
  EXPECT_EQ(fleet.Told(fleet.Send(second)), "APPLIED 1");
  EXPECT_EQ(ToldWithoutTrace(fleet, first), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(FieldName(fleet.last.status), "header.sequence");
}

TEST(SequenceTest, WorkersHaveSequencesOfTheirOwn) {
  Fleet fleet{AggregationConfig{}};
  fleet.JoinAll({"a", "b"});
  for (int version = 1; version < 4; ++version) fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 4");
}

TEST(SequenceTest, ARepeatOfAPendingOneWaitsWithIt) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  EXPECT_TRUE(fleet.last.fold);
  const uint64_t again = fleet.Send(contribution);
  EXPECT_FALSE(fleet.last.fold);
  EXPECT_EQ(fleet.Told(first), "waits");
  EXPECT_EQ(fleet.Told(again), "waits");
  EXPECT_EQ(fleet.num_waiting(), 2u);
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 1");
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
  EXPECT_EQ(fleet.Told(again), "again APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(SequenceTest, APendingOneWithAnotherPayloadIsReused) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  contribution.digest ^= 1;
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "SEQUENCE_REUSED");
  EXPECT_EQ(fleet.Told(first), "waits");
}

TEST(SequenceTest, WhoDoesNotWaitIsToldPendingAndAsksAgain) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution contribution = fleet.Gradient("a");
  contribution.may_wait = false;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "PENDING 1");
  EXPECT_TRUE(fleet.last.fold);
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again PENDING 1");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again APPLIED 1");
}

TEST(SequenceTest, WhoAskedForPendingMayWaitLater) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution contribution = fleet.Gradient("a");
  contribution.may_wait = false;
  fleet.Send(contribution);
  contribution.may_wait = true;
  const uint64_t call = fleet.Send(contribution);
  EXPECT_EQ(fleet.Told(call), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(call), "again APPLIED 1");
}

TEST(SequenceTest, WhoDoesNotWaitIsStillToldWhatItsOwnStepMade) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  Contribution contribution = fleet.Gradient("a");
  contribution.may_wait = false;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "APPLIED 1");
}

TEST(SequenceTest, ALaterSequenceTellsThoseWhoWaitedForTheEarlier) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution early = fleet.Gradient("a");
  const uint64_t first = fleet.Send(early);
  const uint64_t second = fleet.Contribute("a");
  EXPECT_EQ(fleet.Told(first), "PENDING 1");
  EXPECT_EQ(fleet.Told(second), "waits");
  EXPECT_EQ(ToldWithoutTrace(fleet, early), "SEQUENCE_TOO_OLD");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");  // the first one counted, once
  EXPECT_EQ(fleet.Told(second), "ROUND_CLOSED 1");
}

TEST(SequenceTest, AnErrorDoesNotTouchThoseWhoWait) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t first = fleet.Contribute("a");
  Contribution ahead = fleet.Gradient("a");
  ahead.base_version = 7;
  EXPECT_EQ(fleet.Told(fleet.Send(ahead)), "VERSION_AHEAD");
  EXPECT_EQ(fleet.Told(first), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
}

TEST(SequenceTest, AFoldedOneIsCountedEvenIfALaterOneIsRefused) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  Contribution broken = fleet.Gradient("a");
  broken.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "REJECTED_NON_FINITE 0");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  // What was said last is said again.
  EXPECT_EQ(ToldWithoutTrace(fleet, broken), "again REJECTED_NON_FINITE 0");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(SequenceTest, ACallThatEndedIsNotReleased) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  fleet.Break(fleet.Send(contribution));
  EXPECT_EQ(fleet.machine.num_waiting(), 0u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(ToldWithoutTrace(fleet, contribution), "again APPLIED 1");
}

TEST(SequenceTest, OneOfSeveralCallsMayEnd) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t first = fleet.Send(contribution);
  const uint64_t second = fleet.Send(contribution);
  const uint64_t third = fleet.Send(contribution);
  fleet.Break(second);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(first), "APPLIED 1");
  EXPECT_EQ(fleet.Told(second), "broken");
  EXPECT_EQ(fleet.Told(third), "again APPLIED 1");
}

TEST(SequenceTest, CallsThatNobodyKnowsMayEnd) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t call = fleet.Contribute("a");
  fleet.Do(CallEnded{"a", call + 100});
  fleet.Do(CallEnded{"b", call});
  fleet.Do(CallEnded{"stranger", call});
  EXPECT_EQ(fleet.Told(call), "waits");
}

TEST(SequenceTest, ACallMayEndWhileItsStepIsTaken) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.hold_steps = true;
  const uint64_t first = fleet.Contribute("a");
  const uint64_t closing = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(closing), "waits");
  fleet.Break(closing);
  fleet.Break(first);
  EXPECT_TRUE(fleet.TakeStep().released.empty());
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(SequenceTest, AnIncarnationThatComesWhileTheStepIsTakenDoesNotGetItsAnswer) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  const uint64_t closing = fleet.Contribute("b");
  fleet.JoinAll({"b"});
  EXPECT_EQ(fleet.Told(closing), "INCARNATION_FENCED");
  fleet.TakeStep();
  fleet.hold_steps = false;
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  // The new one has contributed to nothing, its sequence 1 is new.
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "waits");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(SequenceTest, AWorkerMayLeaveWhileItsStepIsTaken) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  const uint64_t closing = fleet.Contribute("b");
  EXPECT_TRUE(fleet.Leave("b").ok());
  EXPECT_EQ(fleet.Told(closing), "WORKER_NOT_JOINED");
  fleet.TakeStep();
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
}

TEST(SequenceTest, AStrangerInThePlaceOfOneWhoLeftDoesNotGetItsAnswer) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.hold_steps = true;
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_TRUE(fleet.Leave("b").ok());
  fleet.JoinAll({"c"});  // in the place of b
  fleet.TakeStep();
  fleet.hold_steps = false;
  Contribution contribution = fleet.Gradient("c");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "waits");
}

TEST(SequenceDeathTest, NoContributionMayComeWhileAStepIsTaken) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.hold_steps = true;
  const Contribution contribution = fleet.Gradient("a");
  fleet.Send(contribution);
  EXPECT_DEATH(fleet.Send(contribution), "broken promise");
  fleet.TakeStep();
  EXPECT_DEATH(fleet.machine.Handle(StepTaken{}, fleet.now), "broken promise");
}

}  // namespace
}  // namespace talweg::core
