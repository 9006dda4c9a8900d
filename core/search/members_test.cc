// SPDX-License-Identifier: Apache-2.0
//
// Which workers may ask and tell, and what must survive a crash.
#include "core/search/search_testing.h"

namespace talweg::core {
namespace {

// What an ask and a tell are told.
void ExpectRefused(Population& population, const Ask& ask, const Tell& tell,
                   const std::string& reason) {
  const std::string bytes = population.Bytes();
  EXPECT_EQ(population.Told(population.Send(ask)), reason);
  EXPECT_EQ(ReasonName(population.Do(tell).status), reason);
  EXPECT_EQ(population.Bytes(), bytes);
  EXPECT_EQ(population.Describe().num_leased, 0u);
}

TEST(SearcherTest, OnlyMembersOfTheHistoryMayAskAndTell) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  Ask ask = population.AskOf("a");
  Tell tell = population.TellOf("a", 0, {1, 2});
  ask.history = tell.history = kHistory + 1;
  ExpectRefused(population, ask, tell, "HISTORY_CHANGED");
  ask.history = tell.history = kHistory;
  ask.incarnation = tell.incarnation = 2;
  ExpectRefused(population, ask, tell, "WORKER_NOT_JOINED");
  ask.incarnation = tell.incarnation = 0;
  ExpectRefused(population, ask, tell, "INCARNATION_FENCED");
  ask.worker = tell.worker = "b";
  ask.incarnation = tell.incarnation = 1;
  ExpectRefused(population, ask, tell, "WORKER_NOT_JOINED");
}

TEST(SearcherTest, AnOlderIncarnationIsFenced) {
  Population population(Strategy(2));
  population.JoinAll({"a"});
  const Ask ask = population.AskOf("a");
  const Tell tell = population.TellOf("a", 0, {1, 2});
  EXPECT_TRUE(population.Join("a").ok());
  ExpectRefused(population, ask, tell, "INCARNATION_FENCED");
}

TEST(SearcherTest, TheRoleOfSearchingIsNeeded) {
  Population population(Strategy(2));
  EXPECT_TRUE(population.Join("a", {Role::kStatistics}).ok());
  ExpectRefused(population, population.AskOf("a"), population.TellOf("a", 0, {1, 2}),
                "ROLE_MISSING");
}

TEST(SearcherTest, APlaceIsThatOfTheWorkerThatExpiredLongestAgo) {
  Population population(Configured(Strategy(4), 1, /*lease_seconds=*/2, /*worker_limit=*/2));
  population.JoinAll({"a", "b"});
  EXPECT_EQ(ReasonName(population.Join("c")), "TOO_MANY_WORKERS");
  EXPECT_EQ(population.Ask("a", 2), "1: 0-1");
  population.Pass(absl::Seconds(1));
  EXPECT_TRUE(population.Heartbeat("b").ok());
  population.Pass(absl::Seconds(1));
  EXPECT_TRUE(population.Join("c").ok());
  EXPECT_EQ(population.Ask("c", 1), "1: 0");
  EXPECT_EQ(population.Told(population.Send(population.AskOf("a"))), "WORKER_NOT_JOINED");
}

TEST(SearcherTest, ARepeatedJoinKeepsLeaseAndCalls) {
  Population population(Strategy(2));
  const auto join = [&](const std::string& worker, uint64_t incarnation) {
    return population.Do(Join{worker, incarnation, {Role::kSearch}, /*nonce=*/9});
  };
  SearchEffects effects = join("a", 5);
  EXPECT_EQ(effects.incarnation, 5u);
  EXPECT_EQ(effects.durable.size(), 1u);
  population.incarnations["a"] = 5;
  EXPECT_EQ(population.Ask("a", 1), "1: 0");
  effects = join("a", 6);
  EXPECT_EQ(effects.incarnation, 5u);
  EXPECT_TRUE(effects.durable.empty());
  EXPECT_EQ(population.Ask("a", 2), "again 1: 0");
}

// --- What must survive a crash.

TEST(SearchDurableTest, AJoinLossesAndAVersionAreDurable) {
  Population population(Strategy(2));
  population.hold_steps = true;
  SearchEffects effects = population.Do(Join{"a", 1, {Role::kSearch}, 9});
  ASSERT_EQ(effects.durable.size(), 1u);
  const auto& admitted = std::get<MemberAdmitted>(effects.durable[0]);
  EXPECT_EQ(admitted.worker, "a");
  EXPECT_EQ(admitted.incarnation, 1u);
  EXPECT_EQ(admitted.roles, Roles{Role::kSearch});
  EXPECT_EQ(admitted.nonce, 9u);
  population.incarnations["a"] = 1;
  population.Ask("a", 2);
  EXPECT_EQ(population.Tell("a", 1, {3, 4}), "ACCEPTED 1");
  ASSERT_EQ(population.last.durable.size(), 1u);
  const Tell& told = std::get<LossesTold>(population.last.durable[0]).tell;
  EXPECT_EQ(told.first_pair, 1u);
  EXPECT_EQ(told.losses, (std::vector<double>{3, 4}));
  EXPECT_EQ(population.Tell("a", 0, {1, 2}), "ACCEPTED 1");
  EXPECT_EQ(population.last.durable.size(), 1u);  // the version is not made yet
  effects = population.TakeStep();
  ASSERT_EQ(effects.durable.size(), 1u);
  EXPECT_EQ(std::get<GenerationMade>(effects.durable[0]).record, population.made.at(0));
}

TEST(SearchDurableTest, EverythingElseMayBeForgotten) {
  Population population(Strategy(2));
  population.JoinAll({"a", "b"});
  EXPECT_TRUE(population.Do(population.AskOf("a", 2)).durable.empty());
  const uint64_t b = population.Wait("b");
  EXPECT_TRUE(population.Do(Heartbeat{kHistory, "a", 1}).durable.empty());
  EXPECT_TRUE(population.Do(Tick{}).durable.empty());
  population.Break(b);
  EXPECT_TRUE(population.Do(Leave{kHistory, "b", 2}).durable.empty());
  EXPECT_TRUE(population.Do(population.TellOf("stranger", 0, {1, 2})).durable.empty());
}

TEST(SearchRecordTest, TellsEverythingThatTheStepIsAFunctionOf) {
  SearchConfig config = ClosesBy(Strategy(3), GenerationClose::kCount, 2);
  config.evaluate_every = 1;
  Population population(config);
  population.hold_steps = true;
  population.JoinAll({"a"});
  population.Pass(absl::Seconds(1));
  const absl::Time opened = population.now;
  population.Ask("a");
  population.TellEvaluation("a", 0.75);
  population.Ask("a", 3);
  population.Pass(absl::Seconds(3));
  EXPECT_EQ(population.Tell("a", 1, {1, 2, 3, 5}), "ACCEPTED 2");
  population.TakeStep({.parameters_checksum = 0x1234});
  const GenerationRecord& record = *population.made.at(0);
  EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(record.generation, 1u);
  EXPECT_EQ(record.num_pairs, 3u);
  EXPECT_EQ(record.config_version, 1u);
  EXPECT_EQ(record.learning_rate, 0.5);
  EXPECT_EQ(record.sigma, 0.5f);
  EXPECT_EQ(record.pairs, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(record.losses, (std::vector<double>{1, 2, 3, 5}));
  EXPECT_EQ(record.evaluated, 0.75);
  EXPECT_EQ(record.parameters_checksum, 0x1234u);
  EXPECT_EQ(record.opened, opened);
  EXPECT_EQ(record.closed, opened + absl::Seconds(3));
  // The order that it was made by.
  const SearchOrder& order = population.orders.at(0);
  EXPECT_EQ(order.generation, 1u);
  EXPECT_EQ(order.step.number, 1u);
  EXPECT_EQ(order.step.learning_rate, 0.5);
  EXPECT_EQ(order.step.contributors, 2u);
  const ShapedLosses expected =
      Shape(config, {record.pairs, record.losses, record.evaluated, record.sigma});
  EXPECT_EQ(order.shaped->factor, expected.factor);
  ASSERT_EQ(order.shaped->weights.size(), 2u);
  EXPECT_EQ(order.shaped->weights[1].pair, 2u);
  EXPECT_EQ(order.shaped->weights[1].weight, -1.0f);
}

}  // namespace
}  // namespace talweg::core
