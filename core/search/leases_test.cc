// SPDX-License-Identifier: Apache-2.0
//
// Leases: who gets which pairs, for how long, and who waits.
#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

TEST(EvaluationLeaseTest, WorkersGetTheFirstFreePairsUpToTheirCapacity) {
  Population population(Strategy(10));
  population.JoinAll({"a", "b", "c"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  EXPECT_EQ(population.Ask("b", 1), "1: 4");
  EXPECT_EQ(population.Ask("c", 1000), "1: 5-9");
  EXPECT_EQ(population.Describe().num_leases, 3u);
  EXPECT_EQ(population.Describe().num_leased, 10u);
}

TEST(EvaluationLeaseTest, TellsEverythingThatTheEvaluationNeeds) {
  SearchConfig config = Strategy(4);
  config.sigma_decay = 0.5;
  Population population(config);
  population.JoinAll({"a"});
  population.Finish("a");
  const uint64_t ticket = population.Send(population.AskOf("a", 2));
  ASSERT_TRUE(population.answers[ticket].lease.has_value());
  const EvaluationLease lease = *population.answers[ticket].lease;
  EXPECT_EQ(lease.generation, 2u);
  EXPECT_EQ(lease.version, 1u);
  EXPECT_EQ(lease.first_pair, 0u);
  EXPECT_EQ(lease.num_pairs, 2u);
  EXPECT_EQ(lease.sigma, 0.25f);
  EXPECT_EQ(lease.expires_in, absl::Seconds(10));
  EXPECT_FALSE(lease.held);
}

TEST(EvaluationLeaseTest, AWorkerThatAsksAgainGetsItsLeaseAgain) {
  Population population(Strategy(10));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  population.Pass(absl::Seconds(4));
  const uint64_t again = population.Send(population.AskOf("a", 7));
  EXPECT_EQ(population.Told(again), "again 1: 0-2");
  EXPECT_EQ(population.answers[again].lease->expires_in, absl::Seconds(6));
  EXPECT_EQ(population.Ask("b"), "1: 3");
}

TEST(EvaluationLeaseTest, ALeaseIsOpenUntilItsLastPairIsTold) {
  Population population(Strategy(10));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  EXPECT_EQ(population.Tell("a", 0, {1, 2, 3, 4}), "ACCEPTED 2");
  EXPECT_EQ(population.Ask("a", 3), "again 1: 0-2");
  EXPECT_EQ(population.Tell("a", 2, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Ask("a", 3), "1: 3-5");
}

TEST(EvaluationLeaseTest, TheLeaseOfAnOlderIncarnationIsFree) {
  Population population(Strategy(10));
  population.JoinAll({"a", "b", "c"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  EXPECT_EQ(population.Ask("b", 7), "1: 3-9");
  const uint64_t c = population.Wait("c", 2);
  const talweg::core::Ask older = population.AskOf("a", 3);
  EXPECT_TRUE(population.Join("a").ok());
  EXPECT_EQ(population.Told(c), "1: 0-1");
  EXPECT_EQ(population.Ask("a", 5), "1: 2");
  EXPECT_EQ(population.Told(population.Send(older)), "INCARNATION_FENCED");
  population.Pass(absl::Seconds(10));
  EXPECT_EQ(population.Describe().num_leased, 0u);
}

TEST(EvaluationLeaseTest, ANewIncarnationOfAWorkerThatExpiredBeginsBlank) {
  Population population(Configured(Strategy(10), 1, /*lease_seconds=*/2));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  population.Pass(absl::Seconds(3));
  EXPECT_EQ(population.Describe().num_leased, 0u);
  EXPECT_TRUE(population.Join("a").ok());
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
}

TEST(EvaluationLeaseTest, ALeaseEndsEvaluationSecondsAfterItWasGiven) {
  Population population(Strategy(4));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  const uint64_t b = population.Wait("b", 2);
  population.Pass(absl::Milliseconds(9999));
  EXPECT_EQ(population.Told(b), "waits");
  EXPECT_EQ(population.machine.NextTick(), population.now + absl::Milliseconds(1));
  population.Pass(absl::Milliseconds(1));
  EXPECT_EQ(population.Told(b), "1: 0-1");
  // A worker that is late still counts, as long as no other worker was first.
  EXPECT_EQ(population.Tell("a", 0, {1, 0, 1, 0, 1, 0, 1, 0}), "ACCEPTED 4");
  EXPECT_EQ(population.machine.version(), 1u);
}

TEST(EvaluationLeaseTest, SignsOfLifeDoNotProlongALease) {
  Population population(Strategy(4));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  for (int seconds = 0; seconds < 10; ++seconds) {
    EXPECT_EQ(population.Describe().num_leased, 4u);
    population.Pass(absl::Seconds(1));
    EXPECT_TRUE(population.Heartbeat("a").ok());
  }
  EXPECT_EQ(population.Describe().num_leased, 0u);
}

TEST(EvaluationLeaseTest, NobodyGetsALeaseThatIsOverBack) {
  // The ask comes at the end of the lease, before the tick does.
  for (const absl::Duration late : {absl::Seconds(0), absl::Seconds(5)}) {
    Population population(Strategy(4));
    population.JoinAll({"a"});
    EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
    population.now += absl::Seconds(10) + late;
    const uint64_t ticket = population.Send(population.AskOf("a", 4));
    EXPECT_EQ(population.Told(ticket), "1: 0-3");
    EXPECT_EQ(population.answers[ticket].lease->expires_in, absl::Seconds(10));
  }
}

TEST(EvaluationLeaseTest, TheLeaseOfAWorkerThatExpiresIsFree) {
  Population population(Configured(Strategy(4), 1, /*lease_seconds=*/3));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  const uint64_t b = population.Wait("b", 9);
  population.Pass(absl::Milliseconds(2999));
  EXPECT_EQ(population.Told(b), "waits");
  population.Pass(absl::Milliseconds(1));
  EXPECT_EQ(population.Told(b), "1: 0-3");
}

TEST(EvaluationLeaseTest, TheLeaseOfAWorkerThatLeavesIsFree) {
  Population population(Strategy(4));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  EXPECT_EQ(population.Tell("a", 1, {5, 5}), "ACCEPTED 1");
  const uint64_t b = population.Wait("b", 9);
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(b), "1: 0");  // only consecutive pairs
  EXPECT_EQ(population.Tell("b", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Ask("b", 9), "1: 2-3");
}

TEST(EvaluationLeaseTest, CallsWaitInTurn) {
  Population population(Strategy(4));
  population.JoinAll({"a", "b", "c", "d"});
  EXPECT_EQ(population.Ask("a", 4), "1: 0-3");
  const uint64_t c = population.Wait("c", 3);
  const uint64_t b = population.Wait("b", 2);
  const uint64_t d = population.Wait("d", 2);
  EXPECT_EQ(population.Describe().num_waiting, 3u);
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(c), "1: 0-2");
  EXPECT_EQ(population.Told(b), "1: 3");
  EXPECT_EQ(population.Told(d), "waits");
  EXPECT_EQ(population.Tell("c", 0, {1, 2, 3, 4, 5, 6}), "ACCEPTED 3");
  EXPECT_EQ(population.Told(d), "waits");
  EXPECT_EQ(population.Tell("b", 3, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Told(d), "2: 0-1");
}

TEST(EvaluationLeaseTest, AllCallsOfOneWorkerGetTheOneLease) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t first = population.Wait("b", 1);
  const uint64_t second = population.Wait("b", 1);
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(first), "1: 0");
  EXPECT_EQ(population.Told(second), "1: 0");
  EXPECT_EQ(population.Ask("b"), "again 1: 0");
}

TEST(EvaluationLeaseTest, ACallThatBrokeGetsNothingAndHoldsNobodyUp) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b", "c"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t b = population.Wait("b", 2);
  const uint64_t c = population.Wait("c", 2);
  population.Break(b);
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(b), "broken");
  EXPECT_EQ(population.Told(c), "1: 0-1");
}

TEST(EvaluationLeaseTest, CallsThatBreakAgainAndAgainTakeNoMemory) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b", "c"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t c = population.Wait("c", 1);
  for (int turn = 0; turn < 1000; ++turn) population.Break(population.Wait("b", 2));
  const uint64_t b = population.Wait("b", 1);
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(c), "1: 0");
  EXPECT_EQ(population.Told(b), "1: 1");
}

TEST(EvaluationLeaseTest, ACallThatWaitsKeepsItsWorkerAlive) {
  Population population(Configured(Strategy(2), 1, /*lease_seconds=*/3));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t b = population.Wait("b", 2);
  for (int seconds = 0; seconds < 9; ++seconds) {
    population.Pass(absl::Seconds(1));
    EXPECT_TRUE(population.Heartbeat("a").ok());
  }
  EXPECT_EQ(population.machine.num_live_workers(), 2u);
  population.Pass(absl::Seconds(1));  // the evaluation takes too long
  EXPECT_EQ(population.Told(b), "1: 0-1");
  population.Pass(absl::Milliseconds(2999));
  EXPECT_EQ(population.Describe().num_leased, 2u);
}

TEST(EvaluationLeaseTest, ANewerIncarnationEndsTheOldersCalls) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t older = population.Wait("b");
  EXPECT_TRUE(population.Join("b").ok());
  EXPECT_EQ(population.Told(older), "INCARNATION_FENCED");
  const uint64_t newer = population.Wait("b");
  EXPECT_TRUE(population.Leave("a").ok());
  EXPECT_EQ(population.Told(newer), "1: 0");
}

TEST(EvaluationLeaseTest, AWorkerThatLeavesEndsItsCalls) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t b = population.Wait("b");
  EXPECT_TRUE(population.Leave("b").ok());
  EXPECT_EQ(population.Told(b), "WORKER_NOT_JOINED");
}

TEST(EvaluationLeaseTest, WhoMayNotWaitIsToldThatThereIsNothing) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  talweg::core::Ask ask = population.AskOf("b");
  ask.may_wait = false;
  const uint64_t ticket = population.Send(ask);
  EXPECT_EQ(population.Told(ticket), "nothing");
  EXPECT_EQ(population.answers[ticket].generation, 1u);
  EXPECT_EQ(population.answers[ticket].version, 0u);
}

TEST(EvaluationLeaseTest, ALeaseOfAClosedGenerationIsNoLease) {
  Population population(ClosesBy(Strategy(4), GenerationClose::kCount, 2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Ask("b", 2), "1: 2-3");
  EXPECT_EQ(population.Tell("a", 0, {1, 2, 3, 4}), "ACCEPTED 2");
  EXPECT_EQ(population.machine.version(), 1u);
  EXPECT_EQ(population.Describe().num_leases, 0u);
  EXPECT_EQ(population.Ask("a", 1), "2: 0");
  EXPECT_EQ(population.Ask("b", 2), "2: 1-2");
  // Its end does not free what another lease holds.
  population.Pass(absl::Seconds(9));
  EXPECT_EQ(population.Describe().num_leased, 3u);
}

TEST(EvaluationLeaseTest, TheParametersAreLeasedFirstIfTheyAreEvaluated) {
  Population population(IfBetter(3));
  population.JoinAll({"a", "b", "c"});
  EXPECT_EQ(population.Ask("a", 2), "1: W");
  EXPECT_EQ(population.Ask("a", 2), "again 1: W");
  EXPECT_EQ(population.Ask("b", 3), "1: 0-2");
  const uint64_t c = population.Wait("c", 2);
  population.Pass(absl::Seconds(10));
  // Both leases are over, and the parameters come first again.
  EXPECT_EQ(population.Told(c), "1: W");
}

TEST(EvaluationLeaseTest, AFailedPairIsLeasedAgainBeforeLaterOnes) {
  Population population(Strategy(6));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  EXPECT_EQ(population.Tell("a", 1, {0, 0}, {PairStatus::kFailed}), "ACCEPTED to retry 1");
  EXPECT_EQ(population.Ask("b", 3), "1: 1");
  EXPECT_EQ(population.Tell("b", 1, {1, 0}), "ACCEPTED 1");
  EXPECT_EQ(population.Ask("b", 3), "1: 3-5");
}

TEST(EvaluationLeaseTest, WaitingCallsGetWhatFailed) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const uint64_t b = population.Wait("b", 2);
  EXPECT_EQ(population.Tell("a", 1, {0, 0}, {PairStatus::kFailed}), "ACCEPTED to retry 1");
  EXPECT_EQ(population.Told(b), "1: 1");
}

// --- Leases that end without a word.

SearchConfig LosingAtMost(uint64_t max_lost_leases, SearchConfig config) {
  config.max_lost_leases = max_lost_leases;
  return config;
}

// The evaluation of `poison` kills its worker; others take up to 4 pairs and live. A launcher
// starts a new process for each that dies. Returns how many died until the first version was made.
int DeathsUntilAVersion(Population& population, uint32_t poison) {
  int deaths = 0;
  for (int turn = 0; turn < 100 && population.machine.version() == 0; ++turn) {
    EXPECT_TRUE(population.Join("a").ok());
    const uint64_t ticket = population.Send(population.AskOf("a", 4));
    if (population.answers.count(ticket) == 0) break;
    const EvaluationLease lease = *population.answers[ticket].lease;
    if (lease.first_pair <= poison && poison < lease.first_pair + lease.num_pairs) {
      ++deaths;
      continue;
    }
    population.Tell("a", lease.first_pair, std::vector<double>(2 * lease.num_pairs, 1));
  }
  return deaths;
}

TEST(LostLeaseTest, APairThatKillsItsWorkersIsDroppedAlone) {
  Population population(LosingAtMost(5, Strategy(10)));
  EXPECT_EQ(DeathsUntilAVersion(population, 6), 5);
  EXPECT_EQ(population.machine.version(), 1u);
  EXPECT_EQ(population.PairsOf(1), "0 1 2 3 4 5 7 8 9");
  EXPECT_EQ(population.Report().num_dropped, 1u);
  EXPECT_EQ(population.Report().num_counted, 9u);
}

TEST(LostLeaseTest, ThePairsOfALeaseThatWasLostTwiceAreLeasedOneByOne) {
  Population population(Strategy(4));
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_TRUE(population.Join("a").ok());
    EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  }
  population.JoinAll({"a", "b", "c", "d"});
  EXPECT_EQ(population.Ask("b", 4), "1: 0");
  EXPECT_EQ(population.Ask("c", 4), "1: 1");
  EXPECT_EQ(population.Ask("d", 4), "1: 2-3");
}

TEST(LostLeaseTest, EveryEndWithoutAWordCounts) {
  // By time, by the end of the worker's lease, and by a newer incarnation.
  Population population(Configured(LosingAtMost(3, Strategy(2)), 1, /*lease_seconds=*/12));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  population.Pass(absl::Seconds(10));
  population.JoinAll({"b"});
  EXPECT_EQ(population.Ask("b"), "1: 0");
  EXPECT_TRUE(population.Join("b").ok());
  EXPECT_EQ(population.Ask("b"), "1: 0");
  EXPECT_EQ(population.Describe().num_dropped, 0u);
  population.Pass(absl::Seconds(9));
  EXPECT_EQ(population.Describe().num_dropped, 0u);
  population.Pass(absl::Seconds(1));
  EXPECT_EQ(population.Describe().num_dropped, 1u);
  EXPECT_EQ(population.Ask("b"), "1: 1");
}

TEST(LostLeaseTest, AWorkerThatLeavesOrFailsLosesNothing) {
  SearchConfig config = LosingAtMost(1, Strategy(2));
  Population population(config);
  for (int turn = 0; turn < 5; ++turn) {
    EXPECT_TRUE(population.Join("a").ok());
    EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
    EXPECT_TRUE(population.Leave("a").ok());
  }
  EXPECT_TRUE(population.Join("a").ok());
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {PairStatus::kFailed}), "ACCEPTED to retry 1");
  EXPECT_EQ(population.Describe().num_dropped, 0u);
}

TEST(LostLeaseTest, TheLastPairThatIsLostClosesTheGeneration) {
  Population population(LosingAtMost(1, Strategy(2)));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Ask("a"), "1: 1");
  const uint64_t b = population.Wait("b");
  population.Pass(absl::Seconds(10));
  EXPECT_EQ(population.PairsOf(1), "0");
  EXPECT_EQ(population.Told(b), "2: 0");
  EXPECT_EQ(population.Tell("a", 1, {1, 2}), "NOT_LEASED");
}

// The ask of the worker itself may be the first event after the end of its lease, or its join.
TEST(LostLeaseTest, AGenerationClosesAlsoIfAnAskFindsTheLostLease) {
  Population population(LosingAtMost(1, Strategy(1)));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  population.now += absl::Seconds(11);
  const uint64_t ticket = population.Send(population.AskOf("a"));
  EXPECT_EQ(population.machine.NextTick(), population.now);
  population.Pass(absl::ZeroDuration());
  EXPECT_EQ(population.Told(ticket), "2: 0");
}

TEST(LostLeaseTest, AnEvaluationOfTheParametersThatIsLostGivesTheGenerationUp) {
  Population population(LosingAtMost(2, IfBetter(1)));
  population.JoinAll({"a"});
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(population.Ask("a"), "1: W");
    population.Pass(absl::Seconds(10));
  }
  EXPECT_EQ(population.generation(), 2u);
  EXPECT_EQ(population.machine.version(), 0u);
  EXPECT_EQ(population.Ask("a"), "2: W");
}

TEST(LostLeaseTest, WhatWasLostIsSaved) {
  Population population(LosingAtMost(3, Strategy(2)));
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_TRUE(population.Join("a").ok());
    EXPECT_EQ(population.Ask("a"), "1: 0");
  }
  EXPECT_TRUE(population.Join("a").ok());
  population.Restart();
  EXPECT_EQ(population.Ask("a", 2), "1: 0");
  EXPECT_TRUE(population.Join("a").ok());
  EXPECT_EQ(population.Describe().num_dropped, 1u);
}

// --- Leases that a tell asks for.

// A tell of all losses of the worker's pairs that wants `capacity` more.
Tell Wanting(Population& population, const std::string& worker, uint32_t first, uint32_t count,
             uint32_t capacity) {
  Tell tell = population.TellOf(worker, first, std::vector<double>(2 * count, 1));
  tell.capacity = capacity;
  return tell;
}

std::string TextOf(const std::optional<EvaluationLease>& lease) {
  if (!lease.has_value()) return "none";
  return absl::StrCat(lease->held ? "again " : "", lease->generation, ": ", lease->first_pair, "+",
                      lease->num_pairs);
}

TEST(NextLeaseTest, ATellGetsWhatIsFree) {
  Population population(Strategy(6));
  population.JoinAll({"a", "b"});
  population.Ask("a", 2);
  const Tell tell = Wanting(population, "a", 0, 2, 3);
  population.Send(tell);
  EXPECT_EQ(TextOf(population.last.told->next), "1: 2+3");
  // A repeat gets the same lease, and so does an ask.
  EXPECT_EQ(population.Send(tell), "REPEATED repeated 2");
  EXPECT_EQ(TextOf(population.last.told->next), "again 1: 2+3");
  EXPECT_EQ(population.Ask("a"), "again 1: 2-4");
  // Nothing is leased to one that asks for nothing.
  population.Ask("b");
  population.Send(Wanting(population, "b", 5, 1, 0));
  EXPECT_EQ(TextOf(population.last.told->next), "none");
}

TEST(NextLeaseTest, ALeaseIsGivenUpByNoTellThatTellsAPartOfIt) {
  Population population(Strategy(6));
  population.JoinAll({"a"});
  population.Ask("a", 2);
  population.Send(Wanting(population, "a", 0, 1, 3));
  EXPECT_EQ(TextOf(population.last.told->next), "again 1: 0+2");
}

TEST(NextLeaseTest, TheTellThatClosesAGenerationGetsPairsOfTheNextOne) {
  Population population(Strategy(2));
  population.hold_steps = true;
  population.JoinAll({"a"});
  population.Ask("a", 2);
  population.Send(Wanting(population, "a", 0, 2, 1));
  EXPECT_EQ(TextOf(population.last.told->next), "none");  // not yet
  const SearchEffects effects = population.TakeStep();
  EXPECT_EQ(TextOf(effects.next), "2: 0+1");
  EXPECT_EQ(effects.next->version, 1u);
}

TEST(NextLeaseTest, CallsThatWaitComeBeforeATellThatClosesNothing) {
  Population population(Strategy(3));
  population.JoinAll({"a", "b"});
  population.Ask("a", 3);
  const uint64_t b = population.Wait("b", 3);
  Tell tell = population.TellOf("a", 0, std::vector<double>(6, 1),
                                {PairStatus::kFailed, PairStatus::kOk, PairStatus::kOk});
  tell.capacity = 3;
  population.Send(tell);
  EXPECT_EQ(population.Told(b), "1: 0");
  EXPECT_EQ(TextOf(population.last.told->next), "none");
}

TEST(NextLeaseTest, NobodyWaitsForEverBecauseAnotherWorkerTakesAll) {
  Population population(Strategy(3));
  population.JoinAll({"a", "b"});
  population.Ask("a", 3);
  const uint64_t b = population.Wait("b", 2);
  population.hold_steps = true;
  population.Send(Wanting(population, "a", 0, 3, 3));
  const SearchEffects effects = population.TakeStep();
  EXPECT_EQ(population.Told(b), "2: 0-1");
  EXPECT_EQ(TextOf(effects.next), "2: 2+1");
}

TEST(NextLeaseTest, ThereIsNoneIfTheTellIsRefusedOrTheSearchFinished) {
  SearchConfig config = Strategy(2);
  config.max_generations = 1;
  Population population(config);
  population.hold_steps = true;
  population.JoinAll({"a"});
  population.Ask("a", 2);
  Tell refused = Wanting(population, "a", 0, 1, 1);
  refused.losses = {1};
  EXPECT_EQ(population.Send(refused), "FIELD_OUT_OF_RANGE losses");
  population.Send(Wanting(population, "a", 0, 2, 1));
  EXPECT_EQ(TextOf(population.TakeStep().next), "none");
  population.Send(Wanting(population, "a", 0, 2, 1));
  EXPECT_EQ(TextOf(population.last.told->next), "none");
}

TEST(NextLeaseTest, ALateTellGetsOneToo) {
  Population population(ClosesBy(Strategy(4), GenerationClose::kCount, 1));
  population.JoinAll({"a", "b"});
  population.Ask("a", 1);
  population.Ask("b", 1);
  const Tell late = Wanting(population, "b", 1, 1, 2);
  population.Send(Wanting(population, "a", 0, 1, 0));
  EXPECT_EQ(population.Send(late), "LATE");
  EXPECT_EQ(TextOf(population.last.told->next), "2: 0+2");
}

}  // namespace
}  // namespace talweg::core
