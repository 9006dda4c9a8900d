// SPDX-License-Identifier: Apache-2.0
//
// Changes of the configuration: at once if nothing has begun, else with the next generation.
#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

SearchConfig WithSigma(uint64_t num_pairs, double sigma) {
  SearchConfig config = Strategy(num_pairs);
  config.sigma = sigma;
  return config;
}

TEST(ConfigureTest, TakesEffectAtOnceIfNothingHasBegun) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  population.Configure(WithSigma(5, 0.25));
  EXPECT_EQ(population.machine.config_version(), 2u);
  EXPECT_EQ(population.Describe().num_pairs, 5u);
  const uint64_t ticket = population.Send(population.AskOf("a", 9));
  EXPECT_EQ(population.answers[ticket].lease->sigma, 0.25f);
  EXPECT_EQ(population.answers[ticket].lease->num_pairs, 5u);
}

TEST(ConfigureTest, TakesEffectWithTheNextGenerationOtherwise) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  population.Ask("a", 2);
  population.Configure(WithSigma(3, 0.25));
  EXPECT_EQ(population.machine.config_version(), 1u);
  EXPECT_EQ(population.Describe().num_pairs, 2u);
  EXPECT_EQ(population.Tell("a", 0, {1, 2, 3, 4}), "ACCEPTED 2");
  EXPECT_EQ(population.made.at(0)->config_version, 1u);
  EXPECT_EQ(population.made.at(0)->sigma, 0.5f);
  EXPECT_EQ(population.made.at(0)->learning_rate, 0.5);
  EXPECT_EQ(population.machine.config_version(), 2u);
  population.Finish("a");
  EXPECT_EQ(population.made.at(1)->config_version, 2u);
  EXPECT_EQ(population.made.at(1)->sigma, 0.25f);
  EXPECT_EQ(population.made.at(1)->num_pairs, 3u);
}

TEST(ConfigureTest, TheLastOfSeveralChangesTakesEffect) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  population.Ask("a", 2);
  population.Configure(Strategy(3));
  population.Configure(Strategy(4));
  population.Tell("a", 0, {1, 2, 3, 4});
  EXPECT_EQ(population.Describe().num_pairs, 4u);
  EXPECT_EQ(population.machine.config_version(), 3u);
}

TEST(ConfigureTest, IsDurableEitherWay) {
  for (const bool begun : {false, true}) {
    Population population(Strategy(2));
    population.JoinAll({"a"});
    if (begun) population.Ask("a");
    const SearchEffects effects = population.Configure(Configured(Strategy(3), 2));
    ASSERT_EQ(effects.durable.size(), 1u);
    EXPECT_EQ(std::get<SearchConfigured>(effects.durable[0]).config_version, 2u);
  }
}

// A worker that got its lease from a server which is gone may still tell losses: they were measured
// under the configuration before the change.
TEST(ConfigureTest, LossesOfALeaseThatIsForgottenNeverCountUnderAnotherConfiguration) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  const std::string before_the_lease = population.Bytes();
  population.Ask("a", 2);
  const Tell tell = population.TellOf("a", 0, {1, 2});
  ByteReader reader(before_the_lease);
  ASSERT_TRUE(population.machine.Load(reader, population.now).ok());
  population.Configure(WithSigma(2, 0.25));
  EXPECT_EQ(population.Send(tell), "LATE");
  const uint64_t b = population.Send(population.AskOf("b", 2));
  EXPECT_EQ(population.answers[b].lease->sigma, 0.25f);
  EXPECT_EQ(population.Send(tell), "LATE");
}

TEST(ConfigureTest, LossesThatWereTakenAfterARestoreAreNotThrownAway) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  const std::string before_the_lease = population.Bytes();
  population.Ask("a", 2);
  ByteReader reader(before_the_lease);
  ASSERT_TRUE(population.machine.Load(reader, population.now).ok());
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  population.Configure(WithSigma(2, 0.25));
  EXPECT_EQ(population.Describe().num_told, 1u);
  EXPECT_EQ(population.Tell("a", 1, {3, 4}), "ACCEPTED 1");
  EXPECT_EQ(population.made.at(0)->losses, (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(population.made.at(0)->sigma, 0.5f);
}

TEST(ConfigureTest, WorkersThatWaitGetWhatAChangeFrees) {
  SearchConfig ending = Strategy(1);
  ending.max_generations = 1;
  Population population(ending);
  population.JoinAll({"a", "b"});
  population.Finish("a");
  EXPECT_EQ(population.Ask("b"), "finished");
  population.Configure(Strategy(1));
  EXPECT_EQ(population.Ask("a"), "2: 0");
  const uint64_t b = population.Wait("b");
  population.Configure(Strategy(2));
  EXPECT_EQ(population.Told(b), "waits");
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.Told(b), "3: 0");
}

TEST(ConfigureTest, AShorterLeaseOfWorkersCounts) {
  Population population(Configured(Strategy(2), 1, /*lease_seconds=*/1000));
  population.JoinAll({"a"});
  population.Configure(Configured(Strategy(2), 2, /*lease_seconds=*/5));
  EXPECT_TRUE(population.Heartbeat("a").ok());
  population.Pass(absl::Seconds(5));
  EXPECT_EQ(population.machine.num_live_workers(), 0u);
}

}  // namespace
}  // namespace talweg::core
