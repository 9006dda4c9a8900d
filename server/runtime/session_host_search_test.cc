// SPDX-License-Identifier: Apache-2.0
//
// The host of a session that searches: asks that wait, losses that close a generation, and what
// others see of it.
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_disk.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::ElementsAre;

using AskReply = Reply<absl::StatusOr<AskOutcome>>;
using TellReply = Reply<absl::StatusOr<TellOutcome>>;

constexpr uint64_t kPairs = 4;

core::SearchConfig Strategy() {
  core::SearchConfig search;
  search.method = core::SearchMethod::kEvolutionStrategy;
  search.num_pairs = kPairs;
  search.sigma = 0.5;
  return search;
}

core::SessionConfig Searching(uint64_t num_elements, const core::SearchConfig& search = Strategy(),
                              double learning_rate = 0.5) {
  core::SessionConfig config = TestConfig(num_elements, learning_rate);
  config.aggregation = core::ConfigOf<core::AggregationConfig>();
  config.search = core::ConfigOf(search);
  EXPECT_TRUE(config.Resolve().ok()) << config.Resolve();
  return config;
}

// A session at zero with the workers "a" and "b", of incarnations 1 and 2.
class SearchHost {
 public:
  SearchHost(Env& env, ComputePool& pool, const core::SessionConfig& config)
      : zeros_(config.layout->num_elements()) {
    host_ = std::make_shared<SessionHost>(
        SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, config,
        MemoryBudget::Reservation(), env);
    StatusReply created;
    pool.Post([host = host_, done = created.Callback(), bytes = BytesOf(zeros_)]() mutable {
      host->Create(core::EncodedVector{core::Dtype::kFloat32, bytes}, std::move(done));
    });
    EXPECT_TRUE(created.Get().ok());
  }

  SessionHost* operator->() { return host_.get(); }

  JoinReply Join(uint64_t incarnation, core::Roles roles = {}) {
    JoinReply joined;
    host_->Join(
        {NameOf(incarnation), 0, roles}, [incarnation] { return incarnation; }, joined.Callback());
    return joined;
  }
  AskReply Ask(uint64_t incarnation, uint32_t capacity = 1, uint64_t* ticket = nullptr) {
    core::Ask ask;
    ask.history = kHistory;
    ask.worker = NameOf(incarnation);
    ask.incarnation = incarnation;
    ask.capacity = capacity;
    AskReply asked;
    const uint64_t issued = host_->Ask(std::move(ask), asked.Callback());
    if (ticket != nullptr) *ticket = issued;
    return asked;
  }
  TellReply Tell(uint64_t incarnation, uint32_t generation, uint32_t first_pair,
                 std::vector<double> losses) {
    core::Tell tell;
    tell.history = kHistory;
    tell.worker = NameOf(incarnation);
    tell.incarnation = incarnation;
    tell.generation = generation;
    tell.first_pair = first_pair;
    tell.losses = std::move(losses);
    TellReply told;
    host_->Tell(std::move(tell), told.Callback());
    return told;
  }
  DescribeReply Reconfigure(core::SessionConfig config) {
    DescribeReply changed;
    host_->Reconfigure(
        0,
        [config](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
          return config;
        },
        changed.Callback());
    return changed;
  }
  SessionDescription Describe() {
    DescribeReply described;
    host_->Describe({.open_round = true}, described.Callback());
    return *described.Get();
  }
  std::shared_ptr<const core::Parameters> Read() {
    ReadReply read;
    host_->Read(core::Session::Point::kParameters, read.Callback());
    return read.Get()->values;
  }

  static std::string NameOf(uint64_t incarnation) {
    return std::string(1, static_cast<char>('a' + incarnation - 1));
  }

 private:
  std::vector<float> zeros_;
  std::shared_ptr<SessionHost> host_;
};

class SessionHostSearchTest : public testing::Test {
 protected:
  SearchHost Start(const core::SessionConfig& config = Searching(kManyShards)) {
    SearchHost host(EnvOf(pool_), pool_, config);
    for (const uint64_t incarnation : {1, 2}) EXPECT_TRUE(host.Join(incarnation).Get().ok());
    return host;
  }
  static std::vector<double> Losses(size_t num_pairs) {
    std::vector<double> losses;
    for (size_t pair = 0; pair < num_pairs; ++pair) {
      losses.push_back(static_cast<double>(pair + 2));
      losses.push_back(1);
    }
    return losses;
  }

  ComputePool pool_{3};
};

// A generation whose pairs are all dropped makes no version, and the next one has the new rate.
TEST_F(SessionHostSearchTest, AChangeThatComesIntoForceWithoutAVersionIsVisible) {
  SearchHost host = Start(Searching(kManyShards, Strategy(), 0.5));
  const auto rate = [&] {
    ReadReply read;
    host->Read(core::Session::Point::kParameters, read.Callback());
    return read.Get()->next_learning_rate;
  };
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  core::SearchConfig finished = Strategy();
  finished.max_generations = 1;
  ASSERT_TRUE(host.Reconfigure(Searching(kManyShards, finished, 0.125)).Get().ok());
  EXPECT_EQ(rate(), 0.5);
  const double nan = std::nan("");
  ASSERT_TRUE(host.Tell(1, 1, 0, std::vector<double>(2 * kPairs, nan)).Get().ok());
  EXPECT_EQ(rate(), 0.125);
  EXPECT_EQ(host.Read()->version, 0u);
  EXPECT_FALSE(host->versions().finished());
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  ASSERT_TRUE(host.Tell(1, 2, 0, Losses(kPairs)).Get().ok());
  EXPECT_TRUE(host->versions().finished());
}

TEST_F(SessionHostSearchTest, LossesCloseAGenerationAndMakeAVersion) {
  SearchHost host = Start();
  const AskReply asked = host.Ask(1, kPairs);
  ASSERT_TRUE(asked.Get().ok());
  const AskOutcome& outcome = *asked.Get();
  ASSERT_TRUE(outcome.answer.lease.has_value());
  EXPECT_EQ(outcome.answer.lease->num_pairs, kPairs);
  EXPECT_EQ(outcome.history, kHistory);
  EXPECT_EQ(outcome.config.num_pairs, kPairs);
  EXPECT_FALSE(outcome.at_lookahead);
  const TellReply told = host.Tell(1, 1, 0, Losses(kPairs));
  ASSERT_TRUE(told.Get().ok());
  EXPECT_EQ(told.Get()->answer.verdict, core::TellVerdict::kAccepted);
  EXPECT_EQ(told.Get()->answer.version, 1u);
  EXPECT_EQ(told.Get()->history, kHistory);
  EXPECT_EQ(host.Read()->version, 1u);
  EXPECT_EQ(host->feed()->newest_version(), 1u);
  EXPECT_EQ(host->records().After(0, 9, 9).records.size(), 1u);
  const auto closed = host->generations().Of(1);
  ASSERT_TRUE(closed.has_value());
  EXPECT_EQ(closed->record->losses, Losses(kPairs));
  ASSERT_NE(closed->config, nullptr);
  EXPECT_EQ(closed->config->search.value().num_pairs, kPairs);
  const SessionDescription description = host.Describe();
  ASSERT_TRUE(description.open_generation.has_value());
  EXPECT_FALSE(description.open_round.has_value());
  EXPECT_EQ(description.open_generation->generation, 2u);
  ASSERT_NE(description.last_step, nullptr);
  EXPECT_NE(description.last_step->search, nullptr);
}

TEST_F(SessionHostSearchTest, AnAskWaitsForWhatOthersFree) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  const AskReply waits = host.Ask(2, 2);
  EXPECT_EQ(host.Describe().open_generation->num_waiting, 1u);
  EXPECT_FALSE(waits.Ready());
  host.Tell(1, 1, 0, Losses(kPairs));
  ASSERT_TRUE(waits.Get().ok());
  const core::AskAnswer& answer = waits.Get()->answer;
  ASSERT_TRUE(answer.lease.has_value());
  EXPECT_EQ(answer.lease->generation, 2u);
  EXPECT_EQ(answer.lease->version, 1u);
  // A caller that is told of a version can read it.
  EXPECT_EQ(host.Read()->version, 1u);
}

TEST_F(SessionHostSearchTest, TimeEndsLeasesAndGenerationsByItself) {
  core::SearchConfig search = Strategy();
  search.evaluation_seconds = 0.05;
  search.close = core::GenerationClose::kDeadline;
  search.close_seconds = 0.05;
  SearchHost host = Start(Searching(kManyShards, search));
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  const AskReply freed = host.Ask(2, kPairs);
  ASSERT_TRUE(freed.Get().ok());  // when the lease of "a" is over
  EXPECT_EQ(freed.Get()->answer.lease->num_pairs, kPairs);
  ASSERT_TRUE(host.Tell(2, 1, 0, Losses(1)).Get().ok());
  const AskReply next = host.Ask(1, 1);
  ASSERT_TRUE(next.Get().ok());
  while (host.Read()->version == 0) std::this_thread::yield();
  EXPECT_EQ(host->generations().Of(1)->record->pairs, std::vector<uint32_t>{0});
}

TEST_F(SessionHostSearchTest, AnAskThatNobodyWaitsForGetsNothing) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  uint64_t ticket = 0;
  const AskReply waits = host.Ask(2, 2, &ticket);
  host.Describe();
  host->Abandon(ticket);
  EXPECT_TRUE(absl::IsCancelled(waits.Get().status()));
  EXPECT_EQ(host.Describe().open_generation->num_waiting, 0u);
  host.Tell(1, 1, 0, Losses(kPairs));
  EXPECT_EQ(host.Describe().open_generation->num_leases, 0u);
}

TEST_F(SessionHostSearchTest, AnAskThatWasAbandonedInTheQueueLeasesNothing) {
  SearchHost host = Start();
  Gate gate;
  // The queue stands still while the gate is closed.
  host->Reconfigure(
      0,
      [&gate](const core::SessionConfig& config) -> absl::StatusOr<core::SessionConfig> {
        gate.Wait();
        return config;
      },
      [](const absl::StatusOr<SessionDescription>&) {});
  uint64_t ticket = 0;
  const AskReply asked = host.Ask(1, 2, &ticket);
  host->Abandon(ticket);
  gate.Open();
  EXPECT_TRUE(absl::IsCancelled(asked.Get().status()));
  EXPECT_EQ(host.Describe().open_generation->num_leases, 0u);
}

TEST_F(SessionHostSearchTest, DeletionEndsAsksThatWait) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  const AskReply waits = host.Ask(2);
  host.Describe();
  host->Delete();
  EXPECT_EQ(core::ReasonName(waits.Get().status()), "SESSION_DELETED");
  EXPECT_EQ(core::ReasonName(host.Ask(1).Get().status()), "SESSION_DELETED");
  EXPECT_EQ(core::ReasonName(host.Tell(1, 1, 0, Losses(1)).Get().status()), "SESSION_DELETED");
  EXPECT_FALSE(host->generations().Of(1).has_value());
}

TEST_F(SessionHostSearchTest, ADrainEndsAsksThatWaitAndThoseThatWouldHaveTo) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs - 1).Get().ok());
  ASSERT_TRUE(host.Ask(2, 1).Get().ok());
  ASSERT_TRUE(host.Join(3).Get().ok());
  const AskReply waits = host.Ask(3);
  host.Describe();
  host->Drain(absl::UnavailableError("draining"));
  EXPECT_TRUE(absl::IsUnavailable(waits.Get().status()));
  EXPECT_TRUE(absl::IsUnavailable(host.Ask(3).Get().status()));
  EXPECT_EQ(host.Describe().open_generation->num_waiting, 0u);
  // What was leased may still be told, and what is free is leased.
  EXPECT_TRUE(host.Tell(1, 1, 0, Losses(kPairs - 1)).Get().ok());
  EXPECT_TRUE(host.Tell(2, 1, kPairs - 1, Losses(1)).Get().ok());
  EXPECT_TRUE(host.Ask(3).Get().ok());
}

TEST_F(SessionHostSearchTest, ANewerIncarnationEndsTheOldersAsk) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  const AskReply waits = host.Ask(2);
  JoinReply joined;
  host->Join(
      {"b", 0, {}}, [] { return uint64_t{9}; }, joined.Callback());
  ASSERT_TRUE(joined.Get().ok());
  EXPECT_EQ(core::ReasonName(waits.Get().status()), "INCARNATION_FENCED");
}

TEST_F(SessionHostSearchTest, CallsForTheOtherKindOfSessionChangeNothing) {
  SearchHost host = Start();
  EXPECT_EQ(core::ReasonName(host.Join(3, {core::Role::kGradient}).Get().status()), "WRONG_METHOD");
  StepReply stepped;
  const std::vector<float> ones(kManyShards, 1.0f);
  StepInput input;
  input.contribution.history = kHistory;
  input.contribution.worker = "a";
  input.contribution.incarnation = 1;
  input.contribution.sequence = 1;
  input.gradient = {core::Dtype::kFloat32, BytesOf(ones)};
  host->Step(std::move(input), stepped.Callback());
  EXPECT_EQ(core::ReasonName(stepped.Get().status()), "WRONG_METHOD");

  SearchHost trains(EnvOf(pool_), pool_, TestConfig(4));
  ASSERT_TRUE(trains.Join(1).Get().ok());
  EXPECT_EQ(core::ReasonName(trains.Ask(1).Get().status()), "WRONG_METHOD");
  EXPECT_EQ(core::ReasonName(trains.Tell(1, 1, 0, {1, 2}).Get().status()), "WRONG_METHOD");
  EXPECT_EQ(core::ReasonName(trains.Join(2, {core::Role::kSearch}).Get().status()), "WRONG_METHOD");
  EXPECT_EQ(trains.Read()->version, 0u);
}

TEST_F(SessionHostSearchTest, AStepWithoutAGradientIsForTheOtherKindToo) {
  SearchHost host = Start();
  StepReply stepped;
  StepInput input;
  input.contribution.history = kHistory;
  input.contribution.worker = "a";
  input.contribution.incarnation = 1;
  input.contribution.sequence = 1;
  input.contribution.abstains = true;
  host->Step(std::move(input), stepped.Callback());
  EXPECT_EQ(core::ReasonName(stepped.Get().status()), "WRONG_METHOD");
}

TEST_F(SessionHostSearchTest, ARecordHasTheConfigurationThatItsGenerationWasEvaluatedUnder) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  core::SearchConfig wider = Strategy();
  wider.num_pairs = 2;
  wider.sigma = 0.25;
  const DescribeReply changed = host.Reconfigure(Searching(kManyShards, wider, 0.25));
  ASSERT_TRUE(changed.Get().ok()) << changed.Get().status();
  EXPECT_EQ(changed.Get()->config_version, 2u);
  ASSERT_TRUE(host.Tell(1, 1, 0, Losses(kPairs)).Get().ok());
  ASSERT_TRUE(host.Ask(1, 2).Get().ok());
  ASSERT_TRUE(host.Tell(1, 2, 0, Losses(2)).Get().ok());
  for (const uint64_t version : {1, 2}) {
    const auto closed = host->generations().Of(version);
    ASSERT_TRUE(closed.has_value());
    EXPECT_EQ(closed->record->config_version, version);
    EXPECT_EQ(closed->config->search.value().sigma, version == 1 ? 0.5 : 0.25);
    EXPECT_EQ(closed->record->sigma, version == 1 ? 0.5f : 0.25f);
    EXPECT_EQ(closed->record->learning_rate, version == 1 ? 0.5 : 0.25);
  }
}

TEST_F(SessionHostSearchTest, ASearchThatAChangeFinishesEndsTheWait) {
  SearchHost host = Start();
  ASSERT_TRUE(host.Ask(1, kPairs).Get().ok());
  const AskReply waits = host.Ask(2);
  core::SearchConfig ending = Strategy();
  ending.max_generations = 1;
  ASSERT_TRUE(host.Reconfigure(Searching(kManyShards, ending)).Get().ok());
  const TellReply told = host.Tell(1, 1, 0, Losses(kPairs));
  EXPECT_TRUE(told.Get()->answer.finished);
  ASSERT_TRUE(waits.Get().ok());
  EXPECT_TRUE(waits.Get()->answer.finished);
}

TEST_F(SessionHostSearchTest, ThreadsThatShareGenerationsMakeTheBitsOfOne) {
  constexpr uint64_t kGenerations = 20;
  core::SearchConfig search = Strategy();
  search.num_pairs = 16;
  search.max_generations = kGenerations;
  std::vector<float> expected;
  for (const uint64_t num_workers : {1, 4}) {
    SearchHost host = Start(Searching(kManyShards, search));
    std::vector<std::thread> workers;
    workers.reserve(num_workers);
    for (uint64_t worker = 0; worker < num_workers; ++worker) {
      workers.emplace_back([&host, incarnation = worker + 11] {
        EXPECT_TRUE(host.Join(incarnation).Get().ok());
        for (;;) {
          const AskReply asked = host.Ask(incarnation, 3);
          if (!asked.Get().ok() || asked.Get()->answer.finished) return;
          const core::EvaluationLease& lease = *asked.Get()->answer.lease;
          std::vector<double> losses;
          for (uint32_t pair = lease.first_pair; pair < lease.first_pair + lease.num_pairs;
               ++pair) {
            losses.push_back(std::sin(lease.generation * 7.0 + pair));
            losses.push_back(std::cos(lease.generation * 5.0 + pair));
          }
          EXPECT_TRUE(
              host.Tell(incarnation, lease.generation, lease.first_pair, losses).Get().ok());
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    EXPECT_EQ(host.Read()->version, kGenerations);
    const std::vector<float> values = CopyOf(*host.Read());
    if (num_workers == 1) expected = values;
    EXPECT_TRUE(values == expected);
  }
}

// --- The order: decide, keep, compute, keep, make visible, answer.

class SearchOrderTest : public testing::Test {
 protected:
  SearchOrderTest() : host_(disk_, pool_, Searching(4)) {
    host_.Join(1);
    FinishWrite();
  }
  ~SearchOrderTest() override { Settle(); }
  void Settle() {
    for (int turn = 0; turn < 20; ++turn) {
      Gate done;
      pool_.Post([&done] { done.Open(); });
      done.Wait();
    }
  }
  void FinishWrite() {
    Settle();
    disk_.FinishWrite();
    Settle();
  }

  ComputePool pool_{1};
  SlowDisk disk_{pool_};
  SearchHost host_;
};

TEST_F(SearchOrderTest, ATellIsAnsweredWhenItsLossesAndItsVersionAreKept) {
  const AskReply asked = host_.Ask(1, kPairs);
  Settle();
  EXPECT_THAT(disk_.Writing(), ElementsAre("ask"));  // which needs no disk
  EXPECT_FALSE(asked.Ready());
  FinishWrite();
  ASSERT_TRUE(asked.Ready());
  const TellReply part = host_.Tell(1, 1, 1, {1, 2});
  Settle();
  EXPECT_THAT(disk_.Writing(), ElementsAre("tell told"));
  EXPECT_FALSE(part.Ready());
  FinishWrite();
  ASSERT_TRUE(part.Ready());
  const TellReply rest = host_.Tell(1, 1, 0, {1, 2, 3, 4, 5, 6, 7, 8});
  Settle();
  EXPECT_THAT(disk_.Writing(), ElementsAre("tell told"));
  FinishWrite();  // and then the step is taken
  EXPECT_THAT(disk_.Writing(), ElementsAre("step made"));
  EXPECT_FALSE(rest.Ready());
  EXPECT_EQ(host_.Read()->version, 0u);
  EXPECT_FALSE(host_->generations().Of(1).has_value());
  EXPECT_EQ(host_->feed()->newest_version(), 0u);
  FinishWrite();
  ASSERT_TRUE(rest.Ready());
  EXPECT_EQ(rest.Get()->answer.version, 1u);
  EXPECT_EQ(host_.Read()->version, 1u);
  EXPECT_TRUE(host_->generations().Of(1).has_value());
}

TEST_F(SearchOrderTest, AnAskThatWaitedIsAnsweredWhenTheVersionIsKept) {
  host_.Ask(1, kPairs);
  FinishWrite();
  host_.Join(2);
  FinishWrite();
  const AskReply waits = host_.Ask(2);
  FinishWrite();
  host_.Tell(1, 1, 0, {1, 2, 3, 4, 5, 6, 7, 8});
  FinishWrite();
  EXPECT_THAT(disk_.Writing(), ElementsAre("step made"));
  EXPECT_FALSE(waits.Ready());
  FinishWrite();
  ASSERT_TRUE(waits.Ready());
  EXPECT_EQ(waits.Get()->answer.lease->version, 1u);
}

TEST_F(SearchOrderTest, ATellThatChangesNothingNeedsNoDisk) {
  const TellReply told = host_.Tell(1, 1, 0, {1, 2});
  Settle();
  EXPECT_THAT(disk_.Writing(), ElementsAre("tell"));
  FinishWrite();
  ASSERT_TRUE(told.Ready());
  EXPECT_EQ(told.Get()->answer.verdict, core::TellVerdict::kNotLeased);
}

}  // namespace
}  // namespace talweg::server
