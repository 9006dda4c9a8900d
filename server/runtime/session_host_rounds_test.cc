// SPDX-License-Identifier: Apache-2.0
//
// What a session's host promises to workers that wait for each other.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

core::SessionConfig ConfigOf(uint64_t num_elements, const core::AggregationConfig& aggregation) {
  core::SessionConfig config = TestConfig(num_elements);
  config.aggregation = core::ConfigOf(aggregation);
  EXPECT_TRUE(config.Resolve().ok());
  return config;
}

core::AggregationConfig Synchronous() {
  core::AggregationConfig aggregation;
  aggregation.mode = core::AggregationMode::kSynchronous;
  return aggregation;
}

// A session whose workers are "a", "b", ... with incarnations 1, 2, ...
class Fleet {
 public:
  Fleet(ComputePool& pool, size_t num_workers, const core::AggregationConfig& aggregation,
        uint64_t num_elements = kManyShards)
      : Fleet(pool, num_workers, ConfigOf(num_elements, aggregation)) {}
  Fleet(ComputePool& pool, size_t num_workers, const core::SessionConfig& config)
      : session_(pool, config.layout->num_elements(), config) {
    EXPECT_TRUE(session_.Create().Get().ok());
    for (size_t index = 0; index < num_workers; ++index) {
      EXPECT_TRUE(session_.Join(index + 1, Name(index)).Get().ok());
    }
  }

  static std::string Name(size_t index) { return std::string(1, static_cast<char>('a' + index)); }
  // The next contribution of a worker, on the visible version.
  StepInput Input(size_t index, uint64_t sequence, float value) {
    StepInput input = session_.Input(sequence, value, Name(index), index + 1);
    input.contribution.base_version = session_.Read()->version;
    return input;
  }
  StepReply Step(size_t index, uint64_t sequence, float value) {
    return session_.Step(Input(index, sequence, value));
  }
  // Everything that was asked before is done, but for what waits.
  void Settle() { session_.Describe(false); }

  TestSession* operator->() { return &session_; }
  TestSession& operator*() { return session_; }

 private:
  TestSession session_;
};

TEST(SessionHostRoundsTest, CallsWaitForTheRoundAndAllGetTheSameVersion) {
  ComputePool pool(2);
  Fleet fleet(pool, 3, Synchronous());
  const StepReply first = fleet.Step(0, 1, 1);
  const StepReply second = fleet.Step(1, 1, 2);
  fleet.Settle();
  EXPECT_FALSE(first.Ready());
  EXPECT_FALSE(second.Ready());
  const StepReply third = fleet.Step(2, 1, 6);
  for (const StepReply* reply : {&first, &second, &third}) {
    const StepOutcome& outcome = *reply->Get();
    EXPECT_EQ(outcome.answer.verdict, core::Verdict::kApplied);
    EXPECT_FALSE(outcome.answer.replayed);
    EXPECT_EQ(outcome.answer.applied_version, 1u);
    EXPECT_EQ(outcome.answer.report->contributors, 3u);
    EXPECT_EQ(outcome.parameters, third.Get()->parameters);
    EXPECT_EQ(outcome.parameters->version, 1u);
    EXPECT_THAT(outcome.parameters->values.span(), Each(-1.5f));
    ASSERT_NE(outcome.previous, nullptr);
    EXPECT_EQ(outcome.previous->version, 0u);
  }
}

TEST(SessionHostRoundsTest, AThousandCallsWaitWithTwoThreads) {
  constexpr size_t kWorkers = 1000;
  ComputePool pool(2);
  TestSession session(pool, 10, ConfigOf(10, Synchronous()));
  ASSERT_TRUE(session.Create().Get().ok());
  std::vector<JoinReply> joins;
  for (size_t index = 0; index < kWorkers; ++index) {
    joins.push_back(session.Join(index + 1, "w" + std::to_string(index)));
  }
  for (const JoinReply& join : joins) ASSERT_TRUE(join.Get().ok());
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    std::vector<StepReply> steps;
    for (size_t index = 0; index < kWorkers; ++index) {
      StepInput input = session.Input(sequence, 1, "w" + std::to_string(index), index + 1);
      input.contribution.base_version = sequence - 1;
      steps.push_back(session.Step(std::move(input)));
      if (index + 1 < kWorkers) continue;
      for (const StepReply& step : steps) {
        ASSERT_TRUE(step.Get().ok()) << step.Get().status();
        EXPECT_EQ(step.Get()->answer.applied_version, sequence);
        EXPECT_EQ(step.Get()->parameters, steps.front().Get()->parameters);
      }
    }
  }
  EXPECT_THAT(session.Read()->values.span(), Each(-1.5f));
}

TEST(SessionHostRoundsTest, RequestIsLetGoWhereItsCallWaitsAndOnlyThere) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  OrderLog log;
  StepInput input = fleet.Input(0, 1, 1);
  input.let_go = [&] { log.Add("first"); };
  const StepReply first = fleet->Step(input);
  fleet.Settle();
  EXPECT_THAT(log.words(), ElementsAre("first"));
  input = fleet.Input(1, 1, 1);
  input.let_go = [&] { log.Add("second"); };
  ASSERT_TRUE(fleet->Step(input).Get().ok());
  ASSERT_TRUE(first.Get().ok());
  EXPECT_THAT(log.words(), ElementsAre("first"));
}

TEST(SessionHostRoundsTest, WhoDoesNotWantToWaitIsToldThatItIsPendingAndMayAskAgain) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  StepInput input = fleet.Input(0, 1, 4);
  input.contribution.may_wait = false;
  const StepReply pending = fleet->Step(input);
  EXPECT_EQ(pending.Get()->answer.verdict, core::Verdict::kPending);
  EXPECT_EQ(pending.Get()->answer.applied_version, 1u);
  EXPECT_EQ(pending.Get()->parameters->version, 0u);
  input.contribution.may_wait = true;
  const StepReply again = fleet->Step(input);
  fleet.Settle();
  EXPECT_FALSE(again.Ready());
  ASSERT_TRUE(fleet.Step(1, 1, 2).Get().ok());
  EXPECT_EQ(again.Get()->answer.verdict, core::Verdict::kApplied);
  EXPECT_TRUE(again.Get()->answer.replayed);
  EXPECT_EQ(again.Get()->previous, nullptr);  // it took no step
  EXPECT_THAT(again.Get()->parameters->values.span(), Each(-1.5f));
}

TEST(SessionHostRoundsTest, CallThatIsGivenUpWhileItWaitsLeavesItsContribution) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  uint64_t ticket = 0;
  const StepInput input = fleet.Input(0, 1, 4);
  const StepReply given_up = fleet->Step(input, &ticket);
  fleet.Settle();
  fleet->host().Abandon(ticket);
  EXPECT_TRUE(absl::IsCancelled(given_up.Get().status()));
  const StepReply again = fleet->Step(input);
  const StepReply other = fleet.Step(1, 1, 2);
  EXPECT_TRUE(again.Get()->answer.replayed);
  EXPECT_EQ(other.Get()->answer.report->contributors, 2u);
  EXPECT_THAT(other.Get()->parameters->values.span(), Each(-1.5f));
}

TEST(SessionHostRoundsTest, DrainEndsThoseWhoWaitAndThoseWhoWould) {
  const absl::Status draining = core::MakeError(core::Reason::kDraining, "stopping");
  ComputePool pool(2);
  Fleet fleet(pool, 3, Synchronous());
  const StepReply first = fleet.Step(0, 1, 1);
  Reply<absl::Status> version;
  fleet->host().versions().Await(1, version.Callback());
  fleet->host().Drain(draining);
  EXPECT_EQ(first.Get().status(), draining);
  EXPECT_EQ(version.Get(), draining);
  EXPECT_EQ(fleet.Step(1, 1, 1).Get().status(), draining);
  // What need not wait goes on; and what was contributed was.
  const StepReply last = fleet.Step(2, 1, 1);
  EXPECT_EQ(last.Get()->answer.report->contributors, 3u);
  EXPECT_EQ(fleet->Describe(false).version, 1u);
}

TEST(SessionHostRoundsTest, DeleteEndsThoseWhoWait) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  const StepReply waiting = fleet.Step(0, 1, 1);
  Reply<absl::Status> version;
  fleet->host().versions().Await(1, version.Callback());
  fleet.Settle();
  fleet->host().Delete();
  EXPECT_EQ(core::ReasonName(waiting.Get().status()), "SESSION_DELETED");
  EXPECT_EQ(core::ReasonName(version.Get()), "SESSION_DELETED");
}

TEST(SessionHostRoundsTest, RoundClosesWhenTheLastOneThatIsExpectedGoes) {
  ComputePool pool(2);
  Fleet fleet(pool, 3, Synchronous());
  const StepReply first = fleet.Step(0, 1, 1);
  const StepReply second = fleet.Step(1, 1, 3);
  fleet.Settle();
  ASSERT_TRUE(fleet->Leave(3, "c").Get().ok());
  EXPECT_EQ(first.Get()->answer.report->contributors, 2u);
  EXPECT_THAT(second.Get()->parameters->values.span(), Each(-1.0f));
  // A new incarnation is no part of a round that is open.
  const StepReply third = fleet.Step(0, 2, 1);
  fleet.Settle();
  const JoinReply joined = fleet->Join(4, "b");
  EXPECT_EQ(joined.Get()->version, 2u);  // told after the step that it caused
  EXPECT_EQ(third.Get()->answer.report->contributors, 1u);
  EXPECT_EQ(third.Get()->previous->version, 1u);
}

TEST(SessionHostRoundsTest, FencedCallThatWaitsIsToldSo) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  const StepReply waiting = fleet.Step(0, 1, 1);
  ASSERT_TRUE(fleet->Join(3, "a").Get().ok());
  EXPECT_EQ(core::ReasonName(waiting.Get().status()), "INCARNATION_FENCED");
}

TEST(SessionHostRoundsTest, DeadlineClosesARoundByItself) {
  core::AggregationConfig aggregation = Synchronous();
  aggregation.close = core::CloseRule::kDeadline;
  aggregation.close_seconds = 0.02;
  ComputePool pool(2);
  Fleet fleet(pool, 2, aggregation);
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    const StepReply step = fleet.Step(0, sequence, 1);
    EXPECT_EQ(step.Get()->answer.applied_version, sequence);
    EXPECT_EQ(step.Get()->answer.report->num_late, 1u);
  }
}

// What came before a lease ended counts, however late its turn comes.
TEST(SessionHostRoundsTest, QueuedContributionComesBeforeTheAlarmThatRangBehindIt) {
  core::AggregationConfig aggregation = Synchronous();
  aggregation.lease_seconds = 1;
  ComputePool pool(1);
  Fleet fleet(pool, 2, aggregation);
  const StepReply first = fleet.Step(0, 1, 1);
  fleet.Settle();
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  const StepReply second = fleet.Step(1, 1, 1);
  absl::SleepFor(absl::Milliseconds(1300));
  gate.Open();
  ASSERT_TRUE(second.Get().ok()) << second.Get().status();
  EXPECT_EQ(second.Get()->answer.verdict, core::Verdict::kApplied);
  EXPECT_EQ(first.Get()->answer.report->contributors, 2u);
}

TEST(SessionHostRoundsTest, WorkerWhoseLeaseEndsIsNotWaitedFor) {
  core::AggregationConfig aggregation = Synchronous();
  aggregation.lease_seconds = 1;
  ComputePool pool(2);
  Fleet fleet(pool, 2, aggregation);
  // The one that waits lives; the one that is silent does not.
  const StepReply waiting = fleet.Step(0, 1, 1);
  EXPECT_EQ(waiting.Get()->answer.report->contributors, 1u);
  EXPECT_EQ(fleet->Describe(false).num_live_workers, 1u);
}

TEST(SessionHostRoundsTest, DifferenceIsTheNegativeOfAGradient) {
  for (const bool streamed : {false, true}) {
    ComputePool pool(3);
    Fleet fleet(pool, 2, Synchronous());
    const auto difference = [&](size_t index, float value) {
      StepInput input = fleet.Input(index, 1, value);
      input.contribution.base_version = 0;
      input.is_difference = true;
      if (!streamed) return input;
      input.staged = std::make_shared<core::StagedGradient>(kManyShards);
      input.staged->Begin(fleet->host().group_map());
      input.staged->Append(input.gradient);
      return input;
    };
    const StepReply first = fleet->Step(difference(0, 2));
    const StepReply second = fleet->Step(difference(1, 4));
    EXPECT_THAT(second.Get()->parameters->values.span(), Each(1.5f));  // rate 0.5
    // What is remembered is what was sent.
    EXPECT_TRUE(fleet->Step(difference(0, 2)).Get()->answer.replayed);
    EXPECT_EQ(core::ReasonName(fleet->Step(difference(0, -2)).Get().status()), "SEQUENCE_REUSED");
    // A round of one.
    ASSERT_TRUE(fleet->Leave(2, "b").Get().ok());
    StepInput alone = difference(0, 1);
    alone.contribution.sequence = 2;
    alone.contribution.base_version = 1;
    EXPECT_THAT(fleet->Step(alone).Get()->parameters->values.span(), Each(2.0f));
  }
}

TEST(SessionHostRoundsTest, WeightIsRefusedWhereTheReductionTakesNone) {
  core::AggregationConfig aggregation = Synchronous();
  aggregation.reduction = core::Reduction::kMedian;
  aggregation.max_workers = 3;
  ComputePool pool(2);
  Fleet fleet(pool, 3, aggregation);
  StepInput input = fleet.Input(0, 1, 9);
  input.has_weight = true;
  const StepReply refused = fleet->Step(input);
  EXPECT_EQ(core::ReasonName(refused.Get().status()), "FIELD_OUT_OF_RANGE");
  EXPECT_EQ(core::FieldName(refused.Get().status()), "header.weight");
  input.has_weight = false;
  const StepReply first = fleet->Step(input);
  const StepReply second = fleet.Step(1, 1, 1);
  EXPECT_THAT(fleet.Step(2, 1, 2).Get()->parameters->values.span(), Each(-1.0f));
}

TEST(SessionHostRoundsTest, WeightsCount) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  StepInput input = fleet.Input(0, 1, 8);
  input.has_weight = true;
  input.contribution.weight = 3;
  const StepReply first = fleet->Step(input);
  const StepReply second = fleet.Step(1, 1, 4);
  EXPECT_THAT(second.Get()->parameters->values.span(), Each(-3.5f));
  EXPECT_EQ(second.Get()->answer.report->total_weight, 4);
}

// ---- gradients over streams ----

// A staged contribution whose memory says when it goes.
StepInput Staged(Fleet& fleet, size_t index, float value, OrderLog& log) {
  StepInput input = fleet.Input(index, 1, value);
  auto staged = std::shared_ptr<core::StagedGradient>(
      new core::StagedGradient(input.gradient.bytes.size() / sizeof(float)),
      [&log](core::StagedGradient* gone) {
        delete gone;
        log.Add("folded");
      });
  staged->Begin(fleet->host().group_map());
  staged->Append(input.gradient);
  input.staged = std::move(staged);
  input.gradient = {};
  return input;
}

// The words that are said while `num_contributions` wait to be folded and somebody else wants the
// session.
std::vector<std::string> FoldOrder(size_t num_contributions) {
  OrderLog log;
  ComputePool pool(1);
  Fleet fleet(pool, num_contributions + 1, Synchronous(), 10);
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  std::vector<StepReply> steps;
  for (size_t index = 0; index < num_contributions; ++index) {
    steps.push_back(fleet->Step(Staged(fleet, index, 1, log)));
  }
  fleet->host().Join(
      "other", {core::Role::kStatistics},
      [&] {
        log.Add("joined");
        return 100;
      },
      [](auto) {});
  gate.Open();
  const StepReply last = fleet.Step(num_contributions, 1, 1);
  EXPECT_EQ(last.Get()->answer.report->contributors, num_contributions + 1);
  for (const StepReply& step : steps) {
    EXPECT_EQ(step.Get()->parameters, last.Get()->parameters);
    EXPECT_THAT(step.Get()->parameters->values.span(), Each(-0.5f));
  }
  return log.words();
}

TEST(SessionHostRoundsTest, StreamedGradientsAreFoldedTogetherAndWithoutHaste) {
  std::vector<std::string> words = FoldOrder(7);
  ASSERT_EQ(words.size(), 8u);
  EXPECT_EQ(words.front(), "joined");
  words = FoldOrder(8);
  ASSERT_EQ(words.size(), 9u);
  EXPECT_EQ(words.back(), "joined");
}

TEST(SessionHostRoundsTest, StreamedGradientIsFoldedWhenNothingElseIsToBeDone) {
  OrderLog log;
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  StatusReply folded;
  StepInput input = Staged(fleet, 0, 1, log);
  input.staged = std::shared_ptr<core::StagedGradient>(
      input.staged.get(), [held = input.staged, done = folded.Callback()](auto*) mutable {
        held.reset();
        done(absl::OkStatus());
      });
  const StepReply waiting = fleet->Step(std::move(input));
  EXPECT_TRUE(folded.Get().ok());
  EXPECT_FALSE(waiting.Ready());
  EXPECT_EQ(fleet.Step(1, 1, 3).Get()->answer.report->contributors, 2u);
  EXPECT_THAT(waiting.Get()->parameters->values.span(), Each(-1.0f));
}

TEST(SessionHostRoundsTest, OneMessageAndStreamedContributionsMakeOneMean) {
  OrderLog log;
  ComputePool pool(2);
  Fleet fleet(pool, 4, Synchronous());
  std::vector<StepReply> steps;
  steps.push_back(fleet->Step(Staged(fleet, 0, 1, log)));
  steps.push_back(fleet.Step(1, 1, 2));
  steps.push_back(fleet->Step(Staged(fleet, 2, 3, log)));
  steps.push_back(fleet.Step(3, 1, 6));
  for (const StepReply& step : steps) {
    EXPECT_THAT(step.Get()->parameters->values.span(), Each(-1.5f));
  }
}

// ---- memory ----

TEST(SessionHostRoundsTest, OneLookaheadIsMadeForAllThatAreReleased) {
  core::SessionConfig config = LookingAheadConfig(kManyShards);
  config.aggregation = core::ConfigOf(Synchronous());
  ASSERT_TRUE(config.Resolve().ok());
  ComputePool pool(2);
  Fleet fleet(pool, 4, config);
  const auto step = [&](size_t index, uint64_t sequence, bool wants, uint64_t* ticket = nullptr) {
    StepInput input = fleet.Input(index, sequence, 1);
    input.wants_lookahead = wants;
    return fleet->Step(std::move(input), ticket);
  };
  const StepReply first = step(0, 1, true);
  uint64_t ticket = 0;
  const StepReply gone = step(1, 1, true, &ticket);
  const StepReply second = step(2, 1, false);
  fleet.Settle();
  fleet->host().Abandon(ticket);
  const StepReply third = step(3, 1, true);
  ASSERT_NE(third.Get()->lookahead, nullptr);
  EXPECT_EQ(third.Get()->lookahead->version, 1u);
  EXPECT_THAT(third.Get()->lookahead->values.span(), Each(-50.5f));
  EXPECT_EQ(first.Get()->lookahead, third.Get()->lookahead);
  EXPECT_EQ(second.Get()->lookahead, nullptr);
  // Another round, another vector.
  const StepReply next = step(0, 2, true);
  for (size_t index = 1; index < 4; ++index) (void)step(index, 2, false);
  EXPECT_NE(next.Get()->lookahead, third.Get()->lookahead);
  EXPECT_EQ(next.Get()->lookahead->version, 2u);
  EXPECT_EQ(third.Get()->lookahead->version, 1u);
}

TEST(SessionHostRoundsTest, CloseNeedsNoMemoryAndAContributionIsRefusedWhereThereIsNone) {
  const core::SessionConfig config = ConfigOf(kManyShards, Synchronous());
  const uint64_t vector_bytes = kManyShards * sizeof(float);
  ComputePool pool(2);
  MemoryBudget budget(config.MemoryBytes() + vector_bytes);
  auto host = std::make_shared<SessionHost>(
      SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, config,
      *budget.Reserve(config.MemoryBytes()), EnvOf(pool));
  const std::vector<float> values(kManyShards, 1);
  StatusReply created;
  pool.Post([&] {
    host->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(values)}, created.Callback());
  });
  ASSERT_TRUE(created.Get().ok());
  const auto join = [&](uint64_t incarnation, const std::string& worker) {
    JoinReply joined;
    host->Join(
        worker, {core::Role::kGradient}, [incarnation] { return incarnation; }, joined.Callback());
    return joined;
  };
  const auto step = [&](uint64_t sequence, const std::string& worker, uint64_t incarnation) {
    StepInput input;
    input.contribution.history = kHistory;
    input.contribution.worker = worker;
    input.contribution.incarnation = incarnation;
    input.contribution.sequence = sequence;
    input.contribution.base_version = sequence - 1;
    input.gradient = {core::Dtype::kFloat32, BytesOf(values)};
    StepReply stepped;
    host->Step(std::move(input), stepped.Callback());
    return stepped;
  };
  const auto read = [&] {
    ReadReply visible;
    host->Read(core::Session::Point::kParameters, visible.Callback());
    return (*visible.Get()).values;
  };
  ASSERT_TRUE(join(1, "a").Get().ok());
  ASSERT_TRUE(join(2, "b").Get().ok());
  // An open round, and nothing left: a reader holds version 0, another session has the rest.
  auto held = read();
  const StepReply waiting = step(1, "a", 1);
  DescribeReply settled;
  host->Describe(false, settled.Callback());
  ASSERT_TRUE(settled.Get().ok());
  auto rest = budget.Reserve(vector_bytes);
  ASSERT_TRUE(rest.ok());
  StatusReply left;
  host->Leave({kHistory, "b", 2}, left.Callback());
  ASSERT_TRUE(left.Get().ok());
  EXPECT_EQ(waiting.Get()->parameters->version, 1u);
  // The next round would need a third vector.
  const auto current = read();
  EXPECT_EQ(core::ReasonName(step(2, "a", 1).Get().status()), "MEMORY_QUOTA");
  *rest = MemoryBudget::Reservation();
  EXPECT_EQ(step(2, "a", 1).Get()->answer.applied_version, 2u);
}

// ---- what is told beside ----

TEST(SessionHostRoundsTest, RecordsTellWhoMadeAVersion) {
  ComputePool pool(2);
  Fleet fleet(pool, 3, Synchronous());
  const absl::Time before = absl::Now() - absl::Seconds(1);
  const StepReply first = fleet.Step(1, 5, 1);
  const StepReply second = fleet.Step(0, 7, 1);
  fleet.Settle();
  ASSERT_TRUE(fleet->Leave(3, "c").Get().ok());
  ASSERT_TRUE(first.Get().ok());
  const auto page = fleet->host().records().After(0, 10, 10);
  ASSERT_EQ(page.records.size(), 1u);
  const core::VersionRecord& record = page.records[0];
  EXPECT_EQ(record.version, 1u);
  EXPECT_EQ(record.config_version, 1u);
  EXPECT_EQ(record.total_weight, 2);
  ASSERT_EQ(record.members.size(), 2u);
  EXPECT_EQ(record.members[0].worker, "b");
  EXPECT_EQ(record.members[0].incarnation, 2u);
  EXPECT_EQ(record.members[0].sequence, 5u);
  EXPECT_EQ(record.members[1].worker, "a");
  // By the wall clock, whatever it showed meanwhile.
  EXPECT_GE(record.opened, before);
  EXPECT_LE(record.closed, absl::Now() + absl::Seconds(1));
}

TEST(SessionHostRoundsTest, VersionIsReachedWhenItIsVisible) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  StatusReply reached;
  session.host().versions().Await(2, [&, done = reached.Callback()](absl::Status status) mutable {
    EXPECT_EQ(session.Read()->version, 2u);
    EXPECT_EQ(session.host().records().After(1, 1, 1).records.size(), 1u);
    done(std::move(status));
  });
  ASSERT_TRUE(session.Step(1, 1).Get().ok());
  EXPECT_FALSE(reached.Ready());
  ASSERT_TRUE(session.Step(2, 1).Get().ok());
  EXPECT_TRUE(reached.Get().ok());
}

TEST(SessionHostRoundsTest, FastWorkerWaitsForTheSlowOneAndForAWiderBound) {
  core::AggregationConfig aggregation;
  aggregation.mode = core::AggregationMode::kBoundedStaleness;
  ComputePool pool(2);
  Fleet fleet(pool, 2, aggregation, 10);
  EXPECT_TRUE(fleet->Join(9, "watcher", {core::Role::kStatistics}).Get()->replies_wait);
  const StepReply ahead = fleet.Step(0, 1, 1);
  fleet.Settle();
  EXPECT_FALSE(ahead.Ready());
  EXPECT_EQ(fleet->Read()->version, 1u);  // it counts already
  const StepReply slow = fleet.Step(1, 1, 1);
  ASSERT_TRUE(slow.Get().ok());
  // Its answer tells of its own step, with the parameters of now.
  EXPECT_EQ(ahead.Get()->answer.applied_version, 1u);
  EXPECT_EQ(ahead.Get()->parameters->version, 2u);
  EXPECT_EQ(ahead.Get()->previous, nullptr);

  const StepReply again = fleet.Step(0, 2, 1);
  fleet.Settle();
  EXPECT_FALSE(again.Ready());
  DescribeReply changed;
  fleet->host().Reconfigure(
      0,
      [](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
        core::SessionConfig config = current;
        core::AggregationConfig wider = config.aggregation.value();
        wider.max_rounds_ahead = 5;
        config.aggregation = core::ConfigOf(wider);
        return config;
      },
      changed.Callback());
  ASSERT_TRUE(changed.Get().ok()) << changed.Get().status();
  EXPECT_EQ(again.Get()->answer.applied_version, 3u);
}

TEST(SessionHostRoundsTest, ChangeInAnOpenRoundWaitsForTheNextVersion) {
  ComputePool pool(2);
  Fleet fleet(pool, 2, Synchronous());
  const StepReply first = fleet.Step(0, 1, 1);
  fleet.Settle();
  DescribeReply changed;
  fleet->host().Reconfigure(
      0,
      [](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
        core::SessionConfig config = current;
        config.schedule = TestConfig(1, 0.25).schedule;
        core::GroupConfig group;
        group.learning_rate_factor = 0.5;
        config.groups = {{"w", core::ConfigOf(group)}};
        EXPECT_TRUE(config.Resolve().ok());
        return config;
      },
      changed.Callback());
  // What is told is what was asked for.
  EXPECT_EQ(changed.Get()->config->schedule.rate().value().learning_rate, 0.25);
  EXPECT_EQ(changed.Get()->config_version, 2u);
  EXPECT_EQ(fleet->host().group_map()->num_groups(), 1u);
  EXPECT_THAT(fleet.Step(1, 1, 1).Get()->parameters->values.span(), Each(-0.5f));
  EXPECT_EQ(first.Get()->answer.report->learning_rate, 0.5);
  EXPECT_EQ(fleet->host().group_map()->num_groups(), 2u);
  const StepReply third = fleet.Step(0, 2, 1);
  EXPECT_THAT(fleet.Step(1, 2, 1).Get()->parameters->values.span(), Each(-0.625f));
  const auto records = fleet->host().records().After(0, 10, 10).records;
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].config_version, 1u);
  EXPECT_EQ(records[1].config_version, 2u);
}

}  // namespace
}  // namespace talweg::server
