// SPDX-License-Identifier: Apache-2.0
//
// The numbers of a report, worked out by hand.
#include <cmath>
#include <limits>

#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Pairs 0, 1 and 3 of four count; the learning rate is 1/2 and sigma 1/2, of 100 parameters.
Population ThreeOfFour(SearchConfig config, const StepTaken& taken) {
  config.num_pairs = 4;
  Population population(config);
  population.hold_steps = true;
  population.JoinAll({"a"});
  population.Ask("a", 4);
  Tell tell = population.TellOf("a", 0, {1, 3, 2, 2, 1, kInfinity, 3, 5});
  tell.num_examples = 800;
  EXPECT_EQ(population.Send(tell), "ACCEPTED 3 dropped 1");
  population.TakeStep(taken);
  return population;
}

TEST(SearchReportTest, HasTheNumbersOfTheGeneration) {
  const StepTaken taken{12, 0.75, 0.125, 2, 7, std::nullopt, 40, 0};
  const Population population = ThreeOfFour(Strategy(4), taken);
  const SearchNumbers numbers = population.Report();
  EXPECT_EQ(numbers.generation, 1u);
  EXPECT_EQ(numbers.num_pairs, 4u);
  EXPECT_EQ(numbers.num_counted, 3u);
  EXPECT_EQ(numbers.num_dropped, 1u);
  EXPECT_EQ(numbers.num_non_finite, 1u);
  EXPECT_EQ(numbers.num_ties, 4u);
  EXPECT_NEAR(numbers.loss_mean, 8.0 / 3, 1e-15);
  EXPECT_NEAR(numbers.loss_deviation, std::sqrt(14.0) / 3, 1e-15);
  EXPECT_EQ(numbers.loss_min, 1);
  EXPECT_EQ(numbers.loss_max, 5);
  EXPECT_EQ(numbers.evaluated_loss, std::nullopt);
  EXPECT_EQ(numbers.sigma, 0.5f);
  EXPECT_EQ(numbers.weight_norm, 40);
  EXPECT_EQ(numbers.gradient_learning_rate, 0.5);
  EXPECT_EQ(numbers.num_examples, 800u);
  EXPECT_EQ(numbers.accepted, std::nullopt);
  // a = -2/3, 0, -2/3: S = (144 - 102 * 8/9) 3/2 = 80, and 80 / (144 - 80) = 5/4.
  ASSERT_TRUE(numbers.signal_to_noise.has_value());
  EXPECT_NEAR(*numbers.signal_to_noise, 1.25, 1e-12);

  const StepReport& report = *population.machine.last_step();
  EXPECT_EQ(report.learning_rate, 0.5);
  EXPECT_EQ(report.gradient_norm, 12);
  EXPECT_EQ(report.clip_factor, 0.75);
  EXPECT_EQ(report.update_norm, 0.125);
  EXPECT_EQ(report.num_non_finite, 2u);
  EXPECT_EQ(report.first_non_finite, 7u);
  EXPECT_EQ(report.contributors, 3u);
  EXPECT_EQ(report.total_weight, 3);
  EXPECT_EQ(report.loss, numbers.loss_mean);
}

TEST(SearchReportTest, NothingThatStandsOutIsNoSignal) {
  EXPECT_EQ(ThreeOfFour(Strategy(4), {9}).Report().signal_to_noise, 0);  // 81 < 90.7
  EXPECT_EQ(ThreeOfFour(Strategy(4), {0}).Report().signal_to_noise, std::nullopt);
  EXPECT_EQ(ThreeOfFour(Strategy(4), {kInfinity}).Report().signal_to_noise, std::nullopt);
  // More than chance could ever make.
  EXPECT_EQ(ThreeOfFour(Strategy(4), {100}).Report().signal_to_noise, std::nullopt);
}

// The squared norm of signs is d. S = (144 - 100 * 8/9) 3/2 = 248/3, 248/3 / (144 - 248/3) = 31/23.
TEST(SearchReportTest, TheSignalOfSigns) {
  SearchConfig config = Strategy(4);
  config.noise = SearchNoise::kRademacher;
  const std::optional<double> signal = ThreeOfFour(config, {12}).Report().signal_to_noise;
  ASSERT_TRUE(signal.has_value());
  EXPECT_NEAR(*signal, 31.0 / 23, 1e-12);
}

TEST(SearchReportTest, OnePairTellsNoSignal) {
  Population population(Strategy(1));
  population.JoinAll({"a"});
  population.Finish("a");
  EXPECT_EQ(population.Report().signal_to_noise, std::nullopt);
}

TEST(SearchReportTest, TheRateIsToldInTheUnitOfGradients) {
  SearchConfig config = Strategy(4);
  config.scale = EstimateScale::kTutorial;
  EXPECT_EQ(ThreeOfFour(config, {1}).Report().gradient_learning_rate, 0.5 * 0.25);
  // The mean contains the loss of the pair itself.
  Population mean(OneSided(4));
  mean.JoinAll({"a"});
  mean.Finish("a");
  EXPECT_EQ(mean.Report().gradient_learning_rate, 0.5 * 0.75);
  config.shaping = Shaping::kZScore;
  EXPECT_EQ(ThreeOfFour(config, {1}).Report().gradient_learning_rate, std::nullopt);
  config.scale = EstimateScale::kGradient;
  EXPECT_EQ(ThreeOfFour(config, {1}).Report().gradient_learning_rate, std::nullopt);
}

TEST(SearchReportTest, SaysWhetherAPerturbationWasKept) {
  for (const bool better : {false, true}) {
    Population population(IfBetter(2));
    population.JoinAll({"a"});
    population.Ask("a");
    population.TellEvaluation("a", better ? 1.5 : 1);
    population.Ask("a", 2);
    EXPECT_EQ(population.Tell("a", 0, {3, 1}), "ACCEPTED 2");
    const SearchNumbers numbers = population.Report();
    EXPECT_EQ(numbers.accepted, better);
    EXPECT_EQ(numbers.evaluated_loss, better ? 1.5 : 1);
    EXPECT_EQ(numbers.gradient_learning_rate, std::nullopt);
    EXPECT_EQ(numbers.signal_to_noise, std::nullopt);
    EXPECT_EQ(population.orders.at(0).shaped->kept_pair.has_value(), better);
    // The loss that people look at is the one at the parameters.
    EXPECT_EQ(population.machine.last_step()->loss, numbers.evaluated_loss);
  }
}

TEST(SearchReportTest, LossesAreToldAsTheyCameWithRewardsToo) {
  SearchConfig config = Strategy(4);
  config.direction = Direction::kMaximize;
  const Population population = ThreeOfFour(config, {12});
  EXPECT_EQ(population.Report().loss_min, 1);
  EXPECT_EQ(population.Report().loss_max, 5);
  EXPECT_GT(*population.machine.last_step()->loss, 0);
}

TEST(SearchReportTest, ADerivativeIsNoLoss) {
  SearchConfig config = Strategy(2);
  config.differences = Differences::kDirectional;
  Population population(config);
  population.JoinAll({"a"});
  population.Ask("a", 2);
  EXPECT_EQ(population.Tell("a", 0, {3, 5}), "ACCEPTED 2");
  EXPECT_EQ(population.Report().loss_mean, 4);
  EXPECT_EQ(population.machine.last_step()->loss, std::nullopt);
}

TEST(SearchReportTest, NoFiniteLossIsNoLoss) {
  SearchConfig config = OneSided(2, Baseline::kNone);
  config.shaping = Shaping::kCenteredRanks;
  config.non_finite = NonFinitePolicy::kWorst;
  Population population(config);
  population.JoinAll({"a"});
  population.Ask("a", 2);
  EXPECT_EQ(population.Tell("a", 0, {kInfinity, -kInfinity}), "ACCEPTED 2");
  EXPECT_EQ(population.machine.last_step()->loss, std::nullopt);
  EXPECT_EQ(population.Report().num_non_finite, 2u);
  EXPECT_EQ(population.Report().num_ties, 2u);
}

// --- What is told of the open generation.

TEST(GenerationDescriptionTest, CountsWhatIsThere) {
  SearchConfig config = ClosesBy(Strategy(6), GenerationClose::kDeadline, 30);
  config.max_failures = 1;
  config.evaluate_every = 1;
  Population population(config);
  population.JoinAll({"a", "b", "c"});
  GenerationDescription open = population.Describe();
  EXPECT_EQ(open.generation, 1u);
  EXPECT_EQ(open.version, 0u);
  EXPECT_EQ(open.num_pairs, 6u);
  EXPECT_TRUE(open.needs_evaluation);
  EXPECT_EQ(open.open, std::nullopt);
  EXPECT_EQ(open.closes_in, std::nullopt);
  population.Ask("a");
  population.Ask("b", 6);
  population.Wait("c");
  population.Pass(absl::Seconds(2));
  EXPECT_EQ(population.Tell("b", 0, {1, 2, 0, 0}, {PairStatus::kOk, PairStatus::kFailed}),
            "ACCEPTED 1 dropped 1");
  population.Pass(absl::Seconds(3));
  open = population.Describe();
  EXPECT_EQ(open.num_told, 1u);
  EXPECT_EQ(open.num_dropped, 1u);
  EXPECT_EQ(open.num_leased, 4u);
  EXPECT_EQ(open.num_leases, 2u);
  EXPECT_EQ(open.num_waiting, 1u);
  EXPECT_EQ(open.open, absl::Seconds(5));
  EXPECT_EQ(open.closes_in, absl::Seconds(27));
}

}  // namespace
}  // namespace talweg::core
