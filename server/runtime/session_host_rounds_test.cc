// SPDX-License-Identifier: Apache-2.0
//
// Calls that wait for other workers: what each of them is told, and everything that can end a wait.
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
#include "server/runtime/test_fleet.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

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
  // A contribution that need not wait goes on, and the contributions before it are part of the
  // round.
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

// A contribution that came before a lease ended counts, however late its turn comes.
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
  // The worker that waits lives; the worker that is silent does not.
  const StepReply waiting = fleet.Step(0, 1, 1);
  EXPECT_EQ(waiting.Get()->answer.report->contributors, 1u);
  EXPECT_EQ(fleet->Describe(false).num_live_workers, 1u);
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

}  // namespace
}  // namespace talweg::server
