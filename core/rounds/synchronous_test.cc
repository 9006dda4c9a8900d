// SPDX-License-Identifier: Apache-2.0
//
// Rounds: which workers a round expects, and that each worker counts once. opening_test.cc and
// closing_test.cc test when a round opens and closes.
#include "core/rounds/rounds_testing.h"

namespace talweg::core {
namespace {

TEST(RoundTest, AStepWaitsForItsRoundToClose) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  const uint64_t a = fleet.Contribute("a");
  EXPECT_TRUE(fleet.last.fold);
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(a), "waits");
  EXPECT_EQ(fleet.Told(b), "waits");
  EXPECT_EQ(fleet.machine.num_folded(), 2u);
  EXPECT_EQ(fleet.machine.version(), 0u);
  const uint64_t c = fleet.Contribute("c");
  for (const uint64_t call : {a, b, c}) EXPECT_EQ(fleet.Told(call), "APPLIED 1");
  EXPECT_EQ(fleet.orders.size(), 1u);
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
  EXPECT_EQ(fleet.machine.num_folded(), 0u);
}

TEST(RoundTest, AllAreToldTheSameReport) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.answers[a].report, fleet.answers[b].report);
  EXPECT_EQ(fleet.answers[a].report, fleet.machine.last_step());
}

TEST(RoundTest, VersionCountsRounds) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  for (uint64_t version = 1; version <= 4; ++version) {
    fleet.Contribute("b");
    EXPECT_EQ(fleet.Told(fleet.Contribute("a")), absl::StrCat("APPLIED ", version));
    EXPECT_EQ(fleet.OrderOf(fleet.orders.size()).number, version);
    EXPECT_EQ(fleet.MembersOf(version), "b a");
  }
}

TEST(RoundTest, ARoundOfOneTakesItsGradientAsItIs) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a"});
  fleet.Contribute("a");
  EXPECT_FALSE(fleet.last.fold);
  ASSERT_TRUE(fleet.last.step.has_value());
  EXPECT_EQ(fleet.last.step->contributors, 1u);
}

TEST(RoundTest, AContributionThatClosesARoundOfSeveralIsFolded) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  EXPECT_TRUE(fleet.last.fold);
  ASSERT_TRUE(fleet.last.step.has_value());
  EXPECT_EQ(fleet.last.step->contributors, 2u);
}

// --- One contribution per worker and round.

TEST(RoundTest, ASecondContributionWaitsForTheCloseAndIsRoundClosed) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  const Contribution contribution = fleet.Gradient("a");
  const uint64_t second = fleet.Send(contribution);
  EXPECT_FALSE(fleet.last.fold);
  const uint64_t repeat = fleet.Send(contribution);
  EXPECT_EQ(fleet.machine.num_folded(), 1u);
  EXPECT_EQ(fleet.Told(second), "waits");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(second), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.Told(repeat), "again ROUND_CLOSED 1");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(RoundTest, ASecondContributionThatDoesNotWaitIsPending) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  Contribution contribution = fleet.Gradient("a");
  contribution.may_wait = false;
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "PENDING 1");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(contribution)), "again ROUND_CLOSED 1");
}

TEST(RoundTest, ManyFurtherContributionsAreEachToldOnce) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  std::vector<uint64_t> calls;
  for (int time = 0; time < 4; ++time) calls.push_back(fleet.Contribute("a"));
  EXPECT_EQ(fleet.num_waiting(), 1u);
  fleet.Contribute("b");
  for (int time = 0; time < 3; ++time) EXPECT_EQ(fleet.Told(calls[time]), "PENDING 1");
  EXPECT_EQ(fleet.Told(calls[3]), "ROUND_CLOSED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(RoundTest, OneContributionPerWorkerAndRoundWhateverItsIncarnation) {
  for (const bool leaves : {false, true}) {
    Fleet fleet(Synchronous());
    fleet.JoinAll({"a", "b"});
    fleet.Contribute("a");
    if (leaves) {
      EXPECT_TRUE(fleet.Leave("a").ok());
    }
    fleet.JoinAll({"a"});
    const uint64_t second = fleet.Contribute("a");
    EXPECT_FALSE(fleet.last.fold);
    EXPECT_EQ(fleet.Told(second), "waits");
    fleet.Contribute("b");
    EXPECT_EQ(fleet.Told(second), "ROUND_CLOSED 1");
    EXPECT_EQ(fleet.MembersOf(1), "a b");
    EXPECT_EQ(fleet.RecordOf(1).members[0].incarnation, 1u);
    EXPECT_EQ(fleet.machine.num_workers(), 2u);
  }
}

TEST(RoundTest, WhoWaitedForTheCloseCountsInTheNextRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "APPLIED 2");
}

TEST(RoundTest, ABystanderMayBeRefusedMeanwhile) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  const uint64_t second = fleet.Contribute("a");
  Contribution broken = fleet.Gradient("a");
  broken.finite = false;
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "REJECTED_NON_FINITE 0");
  EXPECT_EQ(fleet.Told(second), "PENDING 1");
  fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(fleet.Send(broken)), "again REJECTED_NON_FINITE 0");
}

TEST(RoundTest, ABystanderMayBeFencedOrLeave) {
  for (const bool leaves : {false, true}) {
    Fleet fleet(Synchronous());
    fleet.JoinAll({"a", "b"});
    fleet.Contribute("a");
    const uint64_t second = fleet.Contribute("a");
    if (leaves) {
      EXPECT_TRUE(fleet.Leave("a").ok());
    } else {
      fleet.JoinAll({"a"});
    }
    EXPECT_EQ(fleet.Told(second), leaves ? "WORKER_NOT_JOINED" : "INCARNATION_FENCED");
    fleet.Contribute("b");
    EXPECT_EQ(fleet.MembersOf(1), "a b");
    EXPECT_EQ(fleet.machine.num_workers(), leaves ? 1u : 2u);
  }
}

// --- Expectations.

TEST(RoundTest, LeavingEndsAnExpectationNeverWhatWasFolded) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  EXPECT_TRUE(fleet.Leave("a").ok());
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  EXPECT_TRUE(fleet.Leave("c").ok());
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
}

TEST(RoundTest, FencingEndsAnExpectationNeverWhatWasFolded) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  fleet.JoinAll({"a"});
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.JoinAll({"c"});  // its new incarnation is not expected before the next round
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(RoundTest, ExpiryEndsAnExpectationNeverWhatWasFolded) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Break(fleet.Contribute("a"));
  const uint64_t b = fleet.Contribute("b");
  fleet.Pass(absl::Seconds(29));
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.Pass(absl::Seconds(1));  // a and c expire
  EXPECT_EQ(fleet.machine.num_live_workers(), 1u);
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
}

TEST(RoundTest, ANonFiniteGradientEndsAnExpectation) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  Contribution broken = fleet.Gradient("b");
  broken.finite = false;
  fleet.Send(broken);
  EXPECT_EQ(fleet.Told(a), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a");
}

TEST(RoundTest, WhoWasRefusedMayStillContributeToTheRound) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b", "c"});
  fleet.Contribute("a");
  Contribution broken = fleet.Gradient("b");
  broken.finite = false;
  fleet.Send(broken);
  const uint64_t b = fleet.Contribute("b");
  EXPECT_EQ(fleet.Told(b), "waits");
  fleet.Contribute("c");
  EXPECT_EQ(fleet.Told(b), "APPLIED 1");
  EXPECT_EQ(fleet.MembersOf(1), "a b c");
}

TEST(RoundTest, ASlowWorkerThatWasLateOnceIsWaitedFor) {
  // c joins while a round is open, and takes longer than the others: its first gradient is late.
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.JoinAll({"c"});
  Contribution of_c = fleet.Gradient("c");
  fleet.Contribute("b");
  for (uint64_t version = 1; version < 6; ++version) {
    // It goes on from the version that its last answer told it, one gradient a round.
    fleet.Contribute("a");
    const uint64_t told = fleet.machine.version();
    const uint64_t c = fleet.Send(of_c);
    fleet.Contribute("b");
    if (fleet.Told(c) != "ROUND_CLOSED 1") {
      EXPECT_EQ(fleet.MembersOf(version + 1), "a c b");
      of_c = fleet.Gradient("c");
      continue;
    }
    EXPECT_EQ(version, 1u) << "late again";
    of_c = fleet.Gradient("c");
    of_c.base_version = told;
    EXPECT_EQ(fleet.machine.version(), 1u) << "the round is closed, and the next one late too";
    EXPECT_EQ(fleet.Told(fleet.Send(of_c)), "APPLIED 2");
    of_c = fleet.Gradient("c");
  }
}

TEST(RoundTest, WhoIsLateTwiceInARoundIsNotWaitedFor) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t a = fleet.Contribute("a");
  for (int time = 0; time < 2; ++time) {
    EXPECT_EQ(fleet.Told(a), "waits");
    Contribution late = fleet.Gradient("b");
    late.base_version = 0;
    EXPECT_EQ(fleet.Told(fleet.Send(late)), "ROUND_CLOSED 1");
  }
  EXPECT_EQ(fleet.Told(a), "APPLIED 2");
  // Which is so in each round anew.
  const uint64_t next = fleet.Contribute("a");
  Contribution late = fleet.Gradient("b");
  late.base_version = 1;
  EXPECT_EQ(fleet.Told(fleet.Send(late)), "ROUND_CLOSED 2");
  EXPECT_EQ(fleet.Told(next), "waits");
  EXPECT_EQ(fleet.Told(fleet.Contribute("b")), "APPLIED 3");
}

TEST(RoundTest, WhoWasLateAndFellSilentIsWaitedForAsLongAsAnyOther) {
  AggregationConfig aggregation = Synchronous();
  aggregation.progress_seconds = 5;
  Fleet fleet(aggregation);
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.Contribute("b");
  const uint64_t a = fleet.Contribute("a");
  Contribution late = fleet.Gradient("b");
  late.base_version = 0;
  fleet.Send(late);
  fleet.PassWithHeartbeatsOf({"b"}, absl::Seconds(4));
  EXPECT_EQ(fleet.Told(a), "waits");
  fleet.Pass(absl::Seconds(1));
  EXPECT_EQ(fleet.Told(a), "APPLIED 2");
}

TEST(RoundTest, ARefusalBeforeTheRoundOpensEndsNothing) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  Contribution broken = fleet.Gradient("b");
  broken.finite = false;
  fleet.Send(broken);
  EXPECT_EQ(fleet.Told(fleet.Contribute("a")), "waits");
}

TEST(RoundTest, AnErrorEndsNoExpectation) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  const uint64_t a = fleet.Contribute("a");
  Contribution ahead = fleet.Gradient("b");
  ahead.base_version = 3;
  EXPECT_EQ(fleet.Told(fleet.Send(ahead)), "VERSION_AHEAD");
  EXPECT_EQ(fleet.Told(a), "waits");
}

TEST(RoundTest, WhoLeftAsANewIncarnationLeavesNoTrace) {
  Fleet fleet(Synchronous());
  fleet.JoinAll({"a", "b"});
  fleet.Contribute("a");
  fleet.JoinAll({"a"});
  EXPECT_TRUE(fleet.Leave("a").ok());
  fleet.Contribute("b");
  EXPECT_EQ(fleet.MembersOf(1), "a b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
  fleet.Contribute("b");
  EXPECT_EQ(fleet.machine.num_workers(), 1u);
}

}  // namespace
}  // namespace talweg::core
