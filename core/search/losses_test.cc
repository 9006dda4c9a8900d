// SPDX-License-Identifier: Apache-2.0
//
// Losses: which of them count, and what becomes of evaluations that failed.
#include <cmath>
#include <limits>

#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

constexpr PairStatus kOk = PairStatus::kOk;
constexpr PairStatus kFailed = PairStatus::kFailed;
constexpr PairStatus kNonFinite = PairStatus::kNonFinite;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

SearchConfig WithPolicy(SearchConfig config, NonFinitePolicy policy,
                        Direction direction = Direction::kMinimize) {
  config.non_finite = policy;
  config.direction = direction;
  if (policy == NonFinitePolicy::kWorst) config.shaping = Shaping::kCenteredRanks;
  if (policy == NonFinitePolicy::kWorst) config.baseline = Baseline::kNone;
  return config;
}

TEST(LossesTest, TheFirstLossesThatAreToldCount) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  population.Pass(absl::Seconds(10));
  EXPECT_EQ(population.Ask("b", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("b", 0, {5, 6}), "ACCEPTED 1");
  EXPECT_EQ(population.Tell("a", 0, {7, 8}), "REPEATED repeated 1");
  EXPECT_EQ(population.Tell("a", 0, {7, 8, 9, 10}), "ACCEPTED 1 repeated 1");
  EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{5, 6, 9, 10}));
}

TEST(LossesTest, LossesThatAreToldTwiceCountOnce) {
  Population population(Strategy(4));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  const Tell tell = population.TellOf("a", 1, {1, 2, 3, 4});
  EXPECT_EQ(population.Send(tell), "ACCEPTED 2");
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.Send(tell), "REPEATED repeated 2");
  EXPECT_TRUE(population.last.durable.empty());
  EXPECT_EQ(population.Bytes(), bytes);
}

TEST(LossesTest, LossesCountWhoeverTellsThem) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("b", 0, {1, 2, 3, 4}), "ACCEPTED 2");
  EXPECT_EQ(population.machine.version(), 1u);
}

TEST(LossesTest, APartOfALeaseMayBeTold) {
  Population population(Strategy(5));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 5), "1: 0-4");
  EXPECT_EQ(population.Tell("a", 3, {30, 31}), "ACCEPTED 1");
  EXPECT_EQ(population.Tell("a", 0, {0, 1, 10, 11}), "ACCEPTED 2");
  EXPECT_EQ(population.Describe().num_told, 3u);
  EXPECT_EQ(population.Describe().num_leased, 2u);
  EXPECT_EQ(population.Tell("a", 1, {-1, -1, 20, 21, -1, -1, 40, 41}), "ACCEPTED 2 repeated 2");
  EXPECT_EQ(population.PairsOf(1), "0 1 2 3 4");
  EXPECT_EQ(population.made.at(0)->losses,
            (std::vector<double>{0, 1, 10, 11, 20, 21, 30, 31, 40, 41}));
}

TEST(LossesTest, TheAnswerTellsWhereTheSessionIsAfterTheStep) {
  Population population(Strategy(1));
  population.hold_steps = true;
  population.JoinAll({"a"});
  population.Ask("a");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  ASSERT_TRUE(population.last.told.has_value());
  EXPECT_EQ(population.last.told->version, 1u);
  EXPECT_EQ(population.last.told->generation, 2u);
  EXPECT_FALSE(population.last.told->finished);
  population.TakeStep();
  EXPECT_EQ(population.generation(), 2u);
}

TEST(LossesTest, WhatComesForAClosedGenerationIsLate) {
  Population population(ClosesBy(Strategy(4), GenerationClose::kCount, 1));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  const Tell late = population.TellOf("a", 1, {1, 2});
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.Send(late), "LATE");
  EXPECT_EQ(population.last.told->version, 1u);
  EXPECT_EQ(population.last.told->generation, 2u);
  // The generation may have had more pairs than there are now.
  Tell far = late;
  far.first_pair = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(population.Send(far), "LATE");
  EXPECT_EQ(population.Bytes(), bytes);
}

TEST(LossesTest, WhatNobodyWasLeasedIsNotTaken) {
  Population population(Strategy(4));
  population.JoinAll({"a"});
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "NOT_LEASED");
  EXPECT_EQ(population.Bytes(), bytes);
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("a", 2, {1, 2}), "NOT_LEASED");
  // Not a part of it either.
  EXPECT_EQ(population.Tell("a", 1, {1, 2, 3, 4}), "NOT_LEASED");
  EXPECT_EQ(population.Describe().num_told, 0u);
}

TEST(LossesTest, AnEvaluationThatNobodyWasLeasedIsNotTaken) {
  Population population(IfBetter(2));
  population.JoinAll({"a"});
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.TellEvaluation("a", 1), "NOT_LEASED");
  EXPECT_EQ(population.Bytes(), bytes);
  // Nor one that the generation does not have.
  Population strategy(Strategy(2));
  strategy.JoinAll({"a"});
  EXPECT_EQ(strategy.Ask("a"), "1: 0");
  EXPECT_EQ(strategy.TellEvaluation("a", 1), "NOT_LEASED");
}

TEST(LossesTest, BadTellsAreRefusedByTheNameOfTheField) {
  Population population(Strategy(4));
  population.JoinAll({"a"});
  population.Finish("a");
  EXPECT_EQ(population.Ask("a", 4), "2: 0-3");
  const std::string bytes = population.Bytes();
  const auto with = [&](auto set) {
    Tell tell = population.TellOf("a", 0, {1, 2});
    set(tell);
    return population.Send(tell);
  };
  EXPECT_EQ(with([](Tell& t) { t.generation = 0; }), "FIELD_OUT_OF_RANGE generation");
  EXPECT_EQ(with([](Tell& t) { t.generation = 3; }), "FIELD_OUT_OF_RANGE generation");
  EXPECT_EQ(with([](Tell& t) { t.losses = {}; }), "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(with([](Tell& t) { t.losses = {1}; }), "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(with([](Tell& t) { t.losses = {1, 2, 3}; }), "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(with([](Tell& t) { t.statuses = {kOk, kOk}; }), "FIELD_OUT_OF_RANGE statuses");
  EXPECT_EQ(with([](Tell& t) { t.evaluate = true; }), "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(with([](Tell& t) { t.first_pair = 4; }), "FIELD_OUT_OF_RANGE first_pair");
  EXPECT_EQ(with([](Tell& t) { t.losses = std::vector<double>(10); }),
            "FIELD_OUT_OF_RANGE first_pair");
  // The end does not wrap around.
  EXPECT_EQ(with([](Tell& t) { t.first_pair = std::numeric_limits<uint32_t>::max(); }),
            "FIELD_OUT_OF_RANGE first_pair");
  EXPECT_EQ(with([](Tell& t) {
              t.evaluate = true;
              t.losses = {1};
              t.first_pair = 1;
            }),
            "FIELD_OUT_OF_RANGE first_pair");
  // Those of a closed generation are looked at as well.
  EXPECT_EQ(with([](Tell& t) {
              t.generation = 1;
              t.losses = {1};
            }),
            "FIELD_OUT_OF_RANGE losses");
  EXPECT_EQ(population.Bytes(), bytes);
}

TEST(LossesTest, OneLossIsToldForEachPairUnlessDifferencesAreCentral) {
  SearchConfig directional = Strategy(2);
  directional.differences = Differences::kDirectional;
  for (const SearchConfig& config : {OneSided(2), directional}) {
    Population population(config);
    population.JoinAll({"a"});
    EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
    EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 2");
    EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{1, 2}));
  }
}

// --- Evaluations that failed.

TEST(FailureTest, AFailedPairIsDroppedWholeWhenItHasFailedTooOften) {
  Population population(Strategy(3));  // three failures
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
  EXPECT_EQ(population.Tell("a", 0, {1, 2, 0, 0, 3, 4}, {kOk, kFailed, kOk}),
            "ACCEPTED 2 to retry 1");
  EXPECT_EQ(population.Ask("b", 3), "1: 1");
  EXPECT_EQ(population.Tell("b", 1, {9, 9}, {kFailed}), "ACCEPTED to retry 1");
  EXPECT_EQ(population.Ask("a", 3), "1: 1");
  EXPECT_EQ(population.Tell("a", 1, {9, 9}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.PairsOf(1), "0 2");
  EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{1, 2, 3, 4}));
  // The divisor follows.
  EXPECT_EQ(population.orders.at(0).step.total_weight, 2);
  EXPECT_EQ(population.Report().num_dropped, 1u);
  EXPECT_EQ(population.Report().num_counted, 2u);
  EXPECT_EQ(population.Report().num_pairs, 3u);
}

TEST(FailureTest, AFailureThatIsToldTwiceCountsOnce) {
  for (const bool evaluation : {false, true}) {
    SearchConfig config = evaluation ? IfBetter(1) : Strategy(2);
    config.max_failures = 2;
    Population population(config);
    population.JoinAll({"a"});
    EXPECT_EQ(population.Ask("a"), evaluation ? "1: W" : "1: 0");
    const Tell failed = evaluation ? population.EvaluationOf("a", 0, {kFailed})
                                   : population.TellOf("a", 0, {0, 0}, {kFailed});
    EXPECT_EQ(population.Send(failed), "ACCEPTED to retry 1");
    const std::string bytes = population.Bytes();
    for (int again = 0; again < 3; ++again) {
      EXPECT_EQ(population.Send(failed), "REPEATED repeated 1");
      EXPECT_TRUE(population.last.durable.empty());
    }
    EXPECT_EQ(population.Bytes(), bytes);
    EXPECT_EQ(population.Ask("a"), evaluation ? "1: W" : "1: 0");
    EXPECT_EQ(population.Send(failed), "REPEATED repeated 1");
    EXPECT_EQ(evaluation ? population.TellEvaluation("a", 0, {kFailed})
                         : population.Tell("a", 0, {0, 0}, {kFailed}),
              "ACCEPTED dropped 1");
  }
}

// The answer to the first tell, which leased the pair anew, was lost.
TEST(FailureTest, AFailureThatIsToldTwiceCountsOnceAlsoIfItGotThePairAgain) {
  Population population(Strategy(1));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  Tell failed = population.TellOf("a", 0, {0, 0}, {kFailed});
  failed.capacity = 1;
  EXPECT_EQ(population.Send(failed), "ACCEPTED to retry 1");
  EXPECT_TRUE(population.last.told->next.has_value());
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(population.Send(failed), "REPEATED repeated 1");
    EXPECT_TRUE(population.last.told->next->held);
  }
  EXPECT_EQ(population.Tell("a", 0, {3, 4}), "ACCEPTED 1");
}

TEST(FailureTest, AFailureIsNoMatterWhileAnotherWorkerEvaluatesThePair) {
  Population population(Strategy(1));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  population.Pass(absl::Seconds(10));
  EXPECT_EQ(population.Ask("b"), "1: 0");
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), "REPEATED repeated 1");
  EXPECT_EQ(population.Bytes(), bytes);
  EXPECT_EQ(population.Describe().num_leased, 1u);
  EXPECT_EQ(population.Tell("b", 0, {1, 2}), "ACCEPTED 1");
}

TEST(FailureTest, AnEvaluationThatTakesTooLongAndFailsCounts) {
  SearchConfig config = Strategy(2);
  config.max_failures = 2;
  Population population(config);
  population.JoinAll({"a"});
  for (const char* told : {"ACCEPTED to retry 1", "ACCEPTED dropped 1"}) {
    EXPECT_EQ(population.Ask("a"), "1: 0");
    population.Pass(absl::Seconds(11));
    EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), told);
  }
}

TEST(FailureTest, ALossMayComeAfterAFailure) {
  Population population(Strategy(1));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: 0");
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), "ACCEPTED to retry 1");
  EXPECT_EQ(population.Tell("a", 0, {3, 4}), "ACCEPTED 1");
  EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{3, 4}));
  EXPECT_EQ(population.Report().num_dropped, 0u);
}

TEST(FailureTest, ADroppedPairStaysDropped) {
  SearchConfig config = Strategy(2);
  config.max_failures = 1;
  Population population(config);
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("a", 0, {0, 0}, {kFailed}), "ACCEPTED dropped 1");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "REPEATED repeated 1");
  EXPECT_EQ(population.Describe().num_dropped, 1u);
}

// --- Losses that are not finite.

TEST(NonFiniteTest, DropLosesThePairWholeAtOnce) {
  for (const double loss : {kNan, kInfinity, -kInfinity, 3.5e38, -3.5e38}) {
    for (const bool minus : {false, true}) {
      Population population(WithPolicy(Strategy(2), NonFinitePolicy::kDrop));
      population.JoinAll({"a"});
      EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
      EXPECT_EQ(population.Tell("a", 0, {minus ? 1 : loss, minus ? loss : 1, 2, 3}),
                "ACCEPTED 1 dropped 1");
      EXPECT_EQ(population.PairsOf(1), "1");
      EXPECT_EQ(population.Report().num_non_finite, 1u);
      EXPECT_EQ(population.Report().num_dropped, 1u);
    }
  }
}

TEST(NonFiniteTest, ALossWhoseSumsWouldOverflowIsNotFinite) {
  Population population(Strategy(3));
  population.JoinAll({"a"});
  population.Ask("a", 3);
  const double beyond = std::nextafter(1e30, 1e31);
  EXPECT_EQ(population.Tell("a", 0, {1e30, -1e30, beyond, 0, 0, -beyond}), "ACCEPTED 1 dropped 2");
  EXPECT_EQ(population.PairsOf(1), "0");
  EXPECT_EQ(population.orders.at(0).shaped->weights.at(0).weight, 1e30f);
}

TEST(NonFiniteTest, AStatusSaysItWithoutALoss) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  EXPECT_EQ(population.Tell("a", 0, {0, 0, 1, 2}, {kNonFinite, kOk}), "ACCEPTED 1 dropped 1");
  EXPECT_EQ(population.Report().num_non_finite, 2u);
}

TEST(NonFiniteTest, RetryTakesItForAFailure) {
  Population population(WithPolicy(Strategy(2), NonFinitePolicy::kRetry));
  population.JoinAll({"a"});
  for (int failures = 1; failures <= 3; ++failures) {
    EXPECT_EQ(population.Ask("a"), "1: 0");
    EXPECT_EQ(population.Tell("a", 0, {kNan, 1}),
              failures < 3 ? "ACCEPTED to retry 1" : "ACCEPTED dropped 1");
    EXPECT_EQ(population.Tell("a", 0, {kNan, 1}), "REPEATED repeated 1");
  }
  EXPECT_EQ(population.Ask("a"), "1: 1");
  EXPECT_EQ(population.Tell("a", 1, {2, 1}), "ACCEPTED 1");
  EXPECT_EQ(population.Report().num_non_finite, 3u);
}

TEST(NonFiniteTest, WorstIsWorseThanEveryFiniteLossInBothDirections) {
  for (const Direction direction : {Direction::kMinimize, Direction::kMaximize}) {
    const double worst = direction == Direction::kMinimize ? kInfinity : -kInfinity;
    // Whatever it was that was not finite: it never becomes the best.
    for (const double loss : {kNan, kInfinity, -kInfinity}) {
      Population population(WithPolicy(OneSided(3), NonFinitePolicy::kWorst, direction));
      population.JoinAll({"a"});
      EXPECT_EQ(population.Ask("a", 3), "1: 0-2");
      EXPECT_EQ(population.Tell("a", 0, {1, loss, 2}), "ACCEPTED 3");
      EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{1, worst, 2}));
      const std::vector<PairWeight>& weights = population.orders.at(0).shaped->weights;
      // A large weight is a bad pair: the step goes away from it.
      EXPECT_EQ(weights.at(1).weight, 2);
      EXPECT_EQ(weights.at(0).weight, direction == Direction::kMinimize ? -2 : 0);
    }
  }
}

// --- The evaluation of the parameters.

TEST(EvaluationTest, TheFirstLossOfTheParametersCounts) {
  Population population(IfBetter(1));
  population.JoinAll({"a"});
  EXPECT_EQ(population.Ask("a"), "1: W");
  EXPECT_EQ(population.TellEvaluation("a", 4), "ACCEPTED 1");
  EXPECT_EQ(population.TellEvaluation("a", 5), "REPEATED repeated 1");
  EXPECT_EQ(population.Ask("a"), "1: 0");
  EXPECT_EQ(population.Tell("a", 0, {3}), "ACCEPTED 1");
  EXPECT_EQ(population.made.at(0)->evaluated, 4);
  EXPECT_EQ(population.Report().evaluated_loss, 4);
}

TEST(EvaluationTest, IsTriedAgainWhateverThePolicyForLossesThatAreNotFinite) {
  for (const NonFinitePolicy policy : {NonFinitePolicy::kDrop, NonFinitePolicy::kRetry}) {
    Population population(WithPolicy(IfBetter(1), policy));
    population.JoinAll({"a"});
    EXPECT_EQ(population.Ask("a"), "1: W");
    EXPECT_EQ(population.TellEvaluation("a", kNan), "ACCEPTED to retry 1");
    EXPECT_EQ(population.Ask("a"), "1: W");
    EXPECT_EQ(population.TellEvaluation("a", 1, {kNonFinite}), "ACCEPTED to retry 1");
    EXPECT_EQ(population.Ask("a"), "1: W");
    EXPECT_EQ(population.TellEvaluation("a", 2), "ACCEPTED 1");
    EXPECT_EQ(population.Describe().needs_evaluation, false);
  }
}

TEST(EvaluationTest, ExamplesAreCountedOnceForWhatIsNew) {
  Population population(IfBetter(2));
  population.JoinAll({"a"});
  population.Ask("a");
  Tell evaluation = population.EvaluationOf("a", 3);
  evaluation.num_examples = 5;
  population.Send(evaluation);
  population.Send(evaluation);
  population.Ask("a", 2);
  Tell pairs = population.TellOf("a", 0, {1});
  pairs.num_examples = 7;
  population.Send(pairs);
  population.Send(pairs);
  pairs = population.TellOf("a", 1, {1});
  pairs.num_examples = 11;
  population.Send(pairs);
  EXPECT_EQ(population.Report().num_examples, 23u);
}

}  // namespace
}  // namespace talweg::core
