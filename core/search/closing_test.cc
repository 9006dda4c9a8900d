// SPDX-License-Identifier: Apache-2.0
//
// When a generation closes, which pairs are part of it, when it is lost, and when the search is
// over.
#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

constexpr PairStatus kFailed = PairStatus::kFailed;

// Every failure drops.
SearchConfig Dropping(SearchConfig config) {
  config.max_failures = 1;
  return config;
}

TEST(ClosingTest, AllWaitsForEveryPair) {
  Population population(Strategy(3));
  population.JoinAll({"a"});
  population.Ask("a", 3);
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Tell("a", 2, {1, 2}), "ACCEPTED 1");
  population.Pass(absl::Hours(100));
  EXPECT_EQ(population.machine.version(), 0u);
  EXPECT_EQ(population.Tell("a", 1, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.machine.version(), 1u);
  EXPECT_EQ(population.PairsOf(1), "0 1 2");
}

TEST(ClosingTest, AllCountsDroppedPairsAsSettled) {
  Population population(Dropping(Strategy(2)));
  population.JoinAll({"a"});
  population.Ask("a", 2);
  EXPECT_EQ(population.Tell("a", 1, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.PairsOf(1), "1");
}

TEST(ClosingTest, CountTakesTheFirstPairsToArrive) {
  Population population(ClosesBy(Strategy(5), GenerationClose::kCount, 2));
  population.JoinAll({"a", "b"});
  population.Ask("a", 2);
  population.Ask("b", 3);
  EXPECT_EQ(population.Tell("b", 4, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.machine.version(), 0u);
  EXPECT_EQ(population.Tell("a", 1, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.PairsOf(1), "1 4");
  EXPECT_EQ(population.Report().num_pairs, 5u);
  EXPECT_EQ(population.Report().num_counted, 2u);
  EXPECT_EQ(population.Report().num_dropped, 0u);
}

TEST(ClosingTest, CountTakesNoMoreThanThatOfOneTell) {
  Population population(ClosesBy(Strategy(5), GenerationClose::kCount, 2));
  population.JoinAll({"a"});
  population.Ask("a", 5);
  EXPECT_EQ(population.Tell("a", 1, {1, 2, 1, 2, 1, 2}), "ACCEPTED 2 repeated 1");
  EXPECT_EQ(population.PairsOf(1), "1 2");
}

TEST(ClosingTest, NoMorePairsAreLeasedThanCountWhileTheEvaluationIsMissing) {
  Population population(ClosesBy(IfBetter(3), GenerationClose::kCount, 1));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a"), "1: W");
  EXPECT_EQ(population.Ask("b"), "1: 0");
  EXPECT_EQ(population.Tell("b", 0, {1}), "ACCEPTED 1");
  const uint64_t b = population.Send(population.AskOf("b"));
  EXPECT_EQ(population.Told(b), "waits");
  EXPECT_EQ(population.TellEvaluation("a", 2), "ACCEPTED 1");
  EXPECT_EQ(population.Told(b), "2: W");
}

TEST(ClosingTest, CountClosesWithFewerIfNoMoreCanCome) {
  Population population(Dropping(ClosesBy(Strategy(3), GenerationClose::kCount, 3)));
  population.JoinAll({"a"});
  population.Ask("a", 3);
  EXPECT_EQ(
      population.Tell("a", 0, {1, 2, 0, 0, 1, 2}, {PairStatus::kOk, kFailed, PairStatus::kOk}),
      "ACCEPTED 2 dropped 1");
  EXPECT_EQ(population.PairsOf(1), "0 2");
}

TEST(ClosingTest, DeadlineRunsFromTheFirstPairThatIsTold) {
  Population population(ClosesBy(Strategy(3), GenerationClose::kDeadline, 2));
  population.JoinAll({"a"});
  population.Ask("a", 3);
  EXPECT_EQ(population.Describe().closes_in, std::nullopt);
  population.Pass(absl::Seconds(5));
  EXPECT_EQ(population.Tell("a", 2, {1, 2}), "ACCEPTED 1");
  population.Pass(absl::Milliseconds(500));
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Describe().closes_in, absl::Milliseconds(1500));
  EXPECT_EQ(population.machine.NextTick(), population.now + absl::Milliseconds(1500));
  population.Pass(absl::Milliseconds(1499));
  EXPECT_EQ(population.machine.version(), 0u);
  population.Pass(absl::Milliseconds(1));
  EXPECT_EQ(population.PairsOf(1), "0 2");
}

TEST(ClosingTest, DeadlineClosesEarlierIfEveryPairIsTold) {
  Population population(ClosesBy(Strategy(2), GenerationClose::kDeadline, 100));
  population.JoinAll({"a"});
  population.Finish("a");
  EXPECT_EQ(population.machine.version(), 1u);
  EXPECT_EQ(population.Describe().closes_in, std::nullopt);
}

TEST(ClosingTest, DeadlineClosesNothingBeforeAPairCounts) {
  Population population(ClosesBy(Strategy(2), GenerationClose::kDeadline, 1));
  population.JoinAll({"a"});
  population.Ask("a", 2);
  EXPECT_EQ(population.Tell("a", 0, {1, 2}, {kFailed}), "ACCEPTED to retry 1");
  population.Pass(absl::Hours(1));
  EXPECT_EQ(population.machine.version(), 0u);
}

TEST(ClosingTest, WaitingCallsGetPairsOfTheNextGenerationWhenTimeCloses) {
  Population population(ClosesBy(Strategy(2), GenerationClose::kDeadline, 1));
  population.JoinAll({"a", "b"});
  population.Ask("a", 2);
  const uint64_t b = population.Wait("b");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  population.Pass(absl::Seconds(1));
  EXPECT_EQ(population.Told(b), "2: 0");
}

TEST(ClosingTest, NoRuleClosesBeforeALossThatTheMethodNeeds) {
  for (const SearchConfig& rule :
       {IfBetter(2), ClosesBy(IfBetter(2), GenerationClose::kCount, 1),
        ClosesBy(IfBetter(2), GenerationClose::kDeadline, 1),
        ClosesBy(OneSided(2, Baseline::kEvaluated), GenerationClose::kCount, 1)}) {
    Population population(rule);
    population.JoinAll({"a", "b"});
    EXPECT_EQ(population.Ask("a"), "1: W");
    EXPECT_EQ(population.Ask("b", 2), "1: 0-1");
    EXPECT_EQ(population.Tell("b", 0, {1, 2}),
              rule.close == GenerationClose::kCount ? "ACCEPTED 1 repeated 1" : "ACCEPTED 2");
    population.Pass(absl::Seconds(5));
    EXPECT_EQ(population.machine.version(), 0u);
    EXPECT_EQ(population.TellEvaluation("a", 0.5), "ACCEPTED 1");
    EXPECT_EQ(population.machine.version(), 1u);
    EXPECT_EQ(population.made.at(0)->evaluated, 0.5);
  }
}

TEST(ClosingTest, AnEvaluationThatNobodyNeedsHoldsUpOnlyARuleThatWaitsForAll) {
  const auto monitored = [](SearchConfig config) {
    config.evaluate_every = 2;
    return config;
  };
  for (const bool waits : {true, false}) {
    Population population(
        monitored(waits ? Strategy(2) : ClosesBy(Strategy(2), GenerationClose::kCount, 2)));
    population.JoinAll({"a", "b"});
    EXPECT_EQ(population.Ask("a"), "1: W");
    EXPECT_EQ(population.Ask("b", 2), "1: 0-1");
    EXPECT_EQ(population.Tell("b", 0, {1, 2, 3, 4}), "ACCEPTED 2");
    EXPECT_EQ(population.machine.version(), waits ? 0u : 1u);
    EXPECT_EQ(population.Send([&] {
      Tell tell = population.EvaluationOf("a", 7);
      tell.generation = 1;
      return tell;
    }()),
              waits ? "ACCEPTED 1" : "LATE");
    EXPECT_EQ(population.made.at(0)->evaluated, waits ? std::optional<double>(7) : std::nullopt);
    // Version 1 is not evaluated, version 2 is.
    EXPECT_EQ(population.Ask("b", 2), "2: 0-1");
    EXPECT_EQ(population.Tell("b", 0, {1, 2, 3, 4}), "ACCEPTED 2");
    EXPECT_EQ(population.Ask("b", 2), "3: W");
  }
}

TEST(ClosingTest, AnEvaluationThatNobodyNeedsMayBeDropped) {
  SearchConfig config = Dropping(Strategy(1));
  config.evaluate_every = 1;
  Population population(config);
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a"), "1: W");
  EXPECT_EQ(population.Ask("b"), "1: 0");
  EXPECT_EQ(population.Tell("b", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.TellEvaluation("a", 0, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.machine.version(), 1u);
  EXPECT_EQ(population.Report().evaluated_loss, std::nullopt);
}

// --- Lost generations.

TEST(LostGenerationTest, MakesNoVersionAndDrawsOtherPerturbations) {
  Population population(Dropping(Strategy(2)));
  population.JoinAll({"a", "b"});
  population.Ask("a", 2);
  const uint64_t b = population.Wait("b");
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.Tell("a", 1, {0, 0}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.last.told->generation, 2u);
  EXPECT_EQ(population.last.told->version, 0u);
  EXPECT_EQ(population.Describe().num_given_up, 1u);
  EXPECT_EQ(population.Describe().num_given_up_non_finite, 0u);
  EXPECT_TRUE(population.made.empty());
  EXPECT_EQ(population.Told(b), "2: 0");
  EXPECT_EQ(population.answers[b].version, 0u);
  population.Finish("b");
  EXPECT_EQ(population.made.at(0)->generation, 2u);
  EXPECT_EQ(population.made.at(0)->version, 1u);
  EXPECT_EQ(population.Describe().num_given_up, 0u);
}

TEST(LostGenerationTest, ThoseInARowAreCountedWithTheLossesThatWereNotFinite) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (uint32_t number = 1; number <= 3; ++number) {
    population.Ask("a", 2);
    EXPECT_EQ(population.Tell("a", 0, {nan, nan, nan, 1}), "ACCEPTED dropped 2");
    EXPECT_EQ(population.Describe().num_given_up, number);
    EXPECT_EQ(population.Describe().num_given_up_non_finite, 3 * number);
  }
  population.Finish("a");
  EXPECT_EQ(population.Describe().num_given_up_non_finite, 0u);
}

TEST(LostGenerationTest, IsOneWithoutTheLossThatTheMethodNeeds) {
  Population population(Dropping(IfBetter(2)));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a"), "1: W");
  EXPECT_EQ(population.Ask("b", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("b", 0, {1}), "ACCEPTED 1");
  EXPECT_EQ(population.TellEvaluation("a", 0, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.generation(), 2u);
  EXPECT_EQ(population.machine.version(), 0u);
  // What was told of it is gone.
  EXPECT_EQ(population.Describe().num_told, 0u);
  EXPECT_EQ(population.Ask("b", 2), "2: W");
}

TEST(LostGenerationTest, PutsAConfigurationInForceThatWaited) {
  Population population(Dropping(Strategy(1)));
  population.JoinAll({"a"});
  population.Ask("a");
  population.Configure(Dropping(Strategy(3)));
  EXPECT_EQ(population.Describe().num_pairs, 1u);
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.Describe().num_pairs, 3u);
  EXPECT_EQ(population.machine.config_version(), 2u);
}

// --- The end of the search.

SearchConfig Ending(uint64_t max_generations, SearchConfig config = Strategy(1)) {
  config.max_generations = max_generations;
  return config;
}

TEST(FinishedTest, TheLastTellAndEveryLaterAskSayIt) {
  Population population(Ending(2));
  population.JoinAll({"a", "b"});
  population.Finish("a");
  EXPECT_FALSE(population.last.told->finished);
  EXPECT_EQ(population.Ask("a"), "2: 0");
  const uint64_t b = population.Wait("b");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_TRUE(population.last.told->finished);
  EXPECT_EQ(population.Told(b), "finished");
  EXPECT_EQ(population.Ask("a"), "finished");
  EXPECT_TRUE(population.machine.finished());
  EXPECT_EQ(population.machine.version(), 2u);
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "LATE");
  EXPECT_TRUE(population.last.told->finished);
}

TEST(FinishedTest, ALargerMaximumGoesOn) {
  Population population(Ending(1));
  population.JoinAll({"a"});
  population.Finish("a");
  EXPECT_EQ(population.Ask("a"), "finished");
  population.Configure(Ending(2));
  EXPECT_FALSE(population.machine.finished());
  population.Finish("a");
  EXPECT_EQ(population.machine.version(), 2u);
  EXPECT_EQ(population.Ask("a"), "finished");
}

TEST(FinishedTest, ALargerMaximumThatWaitsKeepsTheLastTellFromSayingIt) {
  Population population(Ending(1));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  population.Configure(Ending(2));
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_FALSE(population.last.told->finished);
  EXPECT_EQ(population.Ask("a"), "2: 0");
}

TEST(FinishedTest, ASmallerMaximumThatWaitsIsSaidByTheTellThatReachesIt) {
  Population population(Ending(0));
  population.JoinAll({"a", "b"});
  population.Finish("a");
  EXPECT_EQ(population.Ask("a"), "2: 0");
  const uint64_t b = population.Wait("b");
  population.Configure(Ending(1));
  EXPECT_EQ(population.Told(b), "waits");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_TRUE(population.last.told->finished);
  EXPECT_EQ(population.Told(b), "finished");
}

TEST(FinishedTest, ASmallerMaximumEndsAGenerationThatHasNotBegun) {
  Population population(Ending(0));
  population.JoinAll({"a"});
  population.Finish("a");
  population.Configure(Ending(1));
  EXPECT_TRUE(population.machine.finished());
  EXPECT_EQ(population.Ask("a"), "finished");
}

TEST(FinishedTest, WorkersMayStillComeAndGo) {
  Population population(Ending(1));
  population.JoinAll({"a"});
  population.Finish("a");
  EXPECT_TRUE(population.Join("b").ok());
  EXPECT_EQ(population.Ask("b"), "finished");
  EXPECT_TRUE(population.Heartbeat("a").ok());
  EXPECT_TRUE(population.Leave("a").ok());
  population.Pass(absl::Hours(10));
  EXPECT_EQ(population.machine.version(), 1u);
}

}  // namespace
}  // namespace talweg::core
