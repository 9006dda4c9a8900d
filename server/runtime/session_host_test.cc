// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/session_host.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SessionHostTest, StepsRunInTheOrderOfTheirCalls) {
  ComputePool pool(3);
  TestSession session(pool, kManyShards);
  session.Start();
  std::vector<StepReply> replies;
  for (uint64_t sequence = 1; sequence <= 20; ++sequence) {
    replies.push_back(session.Step(sequence, static_cast<float>(sequence)));
  }
  float expected = 0;
  for (uint64_t sequence = 1; sequence <= 20; ++sequence) {
    const StepOutcome& outcome = *replies[sequence - 1].Get();
    EXPECT_EQ(outcome.answer.verdict, core::Verdict::kApplied);
    EXPECT_EQ(outcome.answer.applied_version, sequence);
    EXPECT_EQ(outcome.parameters->version, sequence);
    EXPECT_EQ(outcome.previous->version, sequence - 1);
    EXPECT_THAT(outcome.previous->values.span(), Each(expected));
    expected -= 0.5f * static_cast<float>(sequence);
    EXPECT_THAT(outcome.parameters->values.span(), Each(expected));
  }
}

TEST(SessionHostTest, StepsOfManyThreadsAreEachTakenOnce) {
  constexpr int kThreads = 4;
  constexpr uint64_t kSteps = 40;
  ComputePool pool(3);
  TestSession session(pool, kManyShards);
  ASSERT_TRUE(session.Create().Get().ok());
  const std::vector<float> ones(kManyShards, 1);
  std::vector<std::thread> threads;
  for (int thread = 1; thread <= kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const std::string worker = "w" + std::to_string(thread);
      ASSERT_TRUE(session.Join(static_cast<uint64_t>(thread), worker).Get().ok());
      uint64_t last = 0;
      for (uint64_t sequence = 1; sequence <= kSteps; ++sequence) {
        core::Contribution contribution;
        contribution.history = kHistory;
        contribution.worker = worker;
        contribution.incarnation = static_cast<uint64_t>(thread);
        contribution.sequence = sequence;
        StepReply reply;
        session.host().Step({contribution, {}, {core::Dtype::kFloat32, BytesOf(ones)}},
                            reply.Callback());
        const StepOutcome& outcome = *reply.Get();
        EXPECT_GT(outcome.answer.applied_version, last);
        last = outcome.answer.applied_version;
        // Whole, whichever version it is: every element was moved as often as it says.
        EXPECT_THAT(outcome.parameters->values.span(),
                    Each(-0.5f * static_cast<float>(outcome.parameters->version)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(session.Describe().version, kThreads * kSteps);
}

TEST(SessionHostTest, RepeatIsReplayedAndChangesNothing) {
  ComputePool pool(2);
  TestSession session(pool, kManyShards);
  session.Start();
  const StepReply first = session.Step(1, 1);
  ASSERT_TRUE(first.Get().ok());
  ASSERT_TRUE(session.Step(2, 1).Get().ok());
  const uint32_t before = *session.Describe().checksum;

  const StepReply again = session.Step(2, 1);
  EXPECT_TRUE(again.Get()->answer.replayed);
  EXPECT_EQ(again.Get()->answer.applied_version, 2u);
  EXPECT_EQ(again.Get()->parameters->version, 2u);
  EXPECT_EQ(again.Get()->previous, nullptr);
  EXPECT_EQ(core::ReasonName(session.Step(2, 3).Get().status()), "SEQUENCE_REUSED");
  EXPECT_EQ(core::ReasonName(session.Step(1, 1).Get().status()), "SEQUENCE_TOO_OLD");
  EXPECT_EQ(*session.Describe().checksum, before);
}

TEST(SessionHostTest, StepThatNobodyWaitsForIsAsIfItHadNeverCome) {
  ComputePool pool(1);
  TestSession session(pool, 10);
  session.Start();
  const uint32_t before = *session.Describe().checksum;
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  uint64_t ticket = 0;
  const StepReply abandoned = session.Step(session.Input(1, 1), &ticket);
  session.host().Abandon(ticket);
  gate.Open();
  EXPECT_TRUE(absl::IsCancelled(abandoned.Get().status()));
  EXPECT_EQ(*session.Describe().checksum, before);
  // Its retry is the first that counts.
  const StepReply retry = session.Step(session.Input(1, 1), &ticket);
  EXPECT_FALSE(retry.Get()->answer.replayed);
  EXPECT_EQ(retry.Get()->answer.applied_version, 1u);
  // That one was answered: nothing is left to give up.
  session.host().Abandon(ticket);
  EXPECT_EQ(session.Describe().version, 1u);
}

TEST(SessionHostTest, LossesArePartOfThePayload) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  StepInput input = session.Input(1, 1);
  input.losses = {2.5, 1};
  StepReply reply;
  session.host().Step(input, reply.Callback());
  EXPECT_EQ(reply.Get()->answer.report->loss, 2.5);
  EXPECT_EQ(core::ReasonName(session.Step(1, 1).Get().status()), "SEQUENCE_REUSED");
}

TEST(SessionHostTest, GradientThatIsNotFiniteMovesNothingButItsSequence) {
  ComputePool pool(2);
  TestSession session(pool, kManyShards);
  session.Start();
  uint64_t sequence = 0;
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> gradient(kManyShards, 1);
    gradient.back() = value;
    StepInput input = session.Input(++sequence, 1);
    input.gradient.bytes = BytesOf(gradient);
    for (const bool replayed : {false, true}) {
      StepReply reply;
      session.host().Step(input, reply.Callback());
      EXPECT_EQ(reply.Get()->answer.verdict, core::Verdict::kRejectedNonFinite);
      EXPECT_EQ(reply.Get()->answer.replayed, replayed);
      EXPECT_EQ(reply.Get()->answer.applied_version, 0u);
      EXPECT_EQ(reply.Get()->previous, nullptr);
    }
    EXPECT_THAT(session.Read()->values.span(), Each(0.0f));
  }
  EXPECT_EQ(session.Step(sequence + 1, 1).Get()->answer.applied_version, 1u);
}

TEST(SessionHostTest, CallsMadeBeforeCreateWaitForIt) {
  OrderLog log;
  const std::vector<float> zeros(kManyShards);
  {
    ComputePool pool(1);
    TestSession session(pool, kManyShards);
    session.host().Join(
        "w", {core::Role::kGradient}, [] { return 1; },
        [&](auto joined) { log.Add(joined.ok() ? "joined" : "refused"); });
    session.host().Describe(
        false, [&](auto described) { log.Add(described.ok() ? "described" : "refused"); });
    session.host().Read(core::Session::Point::kParameters,
                        [&](auto read) { log.Add(read.ok() ? "read" : "refused"); });
    StatusReply idle;
    pool.Post([done = idle.Callback()]() mutable { done(absl::OkStatus()); });
    idle.Get();
    EXPECT_THAT(log.words(), IsEmpty());
    pool.Post([&, host = session.Share()] {
      host->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(zeros)},
                   [&](const absl::Status&) { log.Add("created"); });
    });
  }
  EXPECT_THAT(log.words(), ElementsAre("created", "joined", "described", "read"));
}

TEST(SessionHostTest, UploadedValuesAreVersionZero) {
  ComputePool pool(2);
  std::vector<float> values(kManyShards);
  for (size_t index = 0; index < values.size(); ++index) values[index] = static_cast<float>(index);
  TestSession session(pool, kManyShards);
  StatusReply created;
  pool.Post([&] {
    session.host().Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(values)},
                          created.Callback());
  });
  ASSERT_TRUE(created.Get().ok());
  EXPECT_EQ(session.Read()->version, 0u);
  EXPECT_EQ(CopyOf(*session.Read()), values);
}

TEST(SessionHostTest, SeededValuesDoNotDependOnThreads) {
  const core::SessionConfig config = TestConfig(kManyShards);
  const auto plan = core::InitialValues::Create(*config.layout, 3, {{"*", core::NormalValues{}}});
  ASSERT_TRUE(plan.ok());
  std::vector<std::vector<float>> drawn;
  for (const size_t num_threads : {1, 4}) {
    ComputePool pool(num_threads);
    TestSession session(pool, kManyShards);
    StatusReply created;
    pool.Post([&] { session.host().Create(*plan, created.Callback()); });
    ASSERT_TRUE(created.Get().ok());
    drawn.push_back(CopyOf(*session.Read()));
  }
  EXPECT_NE(drawn[0][0], drawn[0][core::kShard]);
  EXPECT_EQ(drawn[0], drawn[1]);
}

TEST(SessionHostTest, JoinFencesTheOlderIncarnationAndLeaveEndsTheOther) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  const JoinReply joined = session.Join(2);
  EXPECT_EQ(joined.Get()->history, kHistory);
  EXPECT_EQ(joined.Get()->version, 0u);
  EXPECT_EQ(joined.Get()->incarnation, 2u);
  EXPECT_EQ(joined.Get()->lease_seconds, 30u);
  EXPECT_EQ(core::ReasonName(session.Step(1, 1).Get().status()), "INCARNATION_FENCED");

  JoinReply alive;
  session.host().Heartbeat({kHistory, "w", 2}, alive.Callback());
  ASSERT_TRUE(alive.Get().ok());
  EXPECT_EQ(alive.Get()->incarnation, 2u);
  EXPECT_EQ(session.Describe().num_workers, 1u);
  EXPECT_EQ(session.Describe().num_live_workers, 1u);

  StatusReply left;
  session.host().Leave({kHistory, "w", 2}, left.Callback());
  EXPECT_TRUE(left.Get().ok());
  EXPECT_EQ(session.Describe().num_workers, 0u);
  JoinReply gone;
  session.host().Heartbeat({kHistory, "w", 2}, gone.Callback());
  EXPECT_EQ(core::ReasonName(gone.Get().status()), "WORKER_NOT_JOINED");
}

TEST(SessionHostTest, RateChangesBetweenSteps) {
  ComputePool pool(1);
  TestSession session(pool, kManyShards);
  session.Start();
  // All three are queued before the first one starts.
  Gate gate;
  pool.Post([&] { gate.Wait(); });
  const StepReply before = session.Step(1, 1);
  const DescribeReply changed = session.SetRate(0.25, kHistory);
  const StepReply after = session.Step(2, 1);
  gate.Open();
  EXPECT_EQ(before.Get()->answer.report->learning_rate, 0.5);
  EXPECT_THAT(before.Get()->parameters->values.span(), Each(-0.5f));
  EXPECT_EQ(changed.Get()->version, 1u);
  EXPECT_EQ(changed.Get()->config_version, 2u);
  EXPECT_EQ(changed.Get()->config->schedule.rate().value().learning_rate, 0.25);
  EXPECT_EQ(after.Get()->answer.report->learning_rate, 0.25);
  EXPECT_THAT(after.Get()->parameters->values.span(), Each(-0.75f));
}

TEST(SessionHostTest, RefusedChangeLeavesTheConfiguration) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  const uint32_t before = *session.Describe().checksum;
  EXPECT_EQ(core::ReasonName(session.SetRate(0.25, kHistory + 1).Get().status()),
            "HISTORY_CHANGED");
  DescribeReply failed;
  session.host().Reconfigure(
      0, [](const core::SessionConfig&) { return absl::InvalidArgumentError("no"); },
      failed.Callback());
  EXPECT_EQ(failed.Get().status().message(), "no");
  DescribeReply immutable;
  session.host().Reconfigure(
      0,
      [](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
        return TestConfig(11);
      },
      immutable.Callback());
  EXPECT_EQ(core::ReasonName(immutable.Get().status()), "FIELD_IMMUTABLE");
  EXPECT_EQ(session.Describe().config_version, 1u);
  EXPECT_EQ(*session.Describe().checksum, before);
}

TEST(SessionHostTest, DescriptionTellsWhatHappened) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  EXPECT_EQ(session.Describe().last_step, nullptr);
  ASSERT_TRUE(session.Step(1, 2).Get().ok());
  const SessionDescription description = session.Describe(/*with_checksum=*/false);
  EXPECT_EQ(description.identity.session_id, "session");
  EXPECT_EQ(description.identity.history, kHistory);
  EXPECT_EQ(description.version, 1u);
  EXPECT_EQ(description.config_version, 1u);
  EXPECT_EQ(description.config->layout->num_elements(), 10u);
  EXPECT_EQ(description.last_step->contributors, 1u);
  EXPECT_NEAR(description.last_step->gradient_norm, 2 * std::sqrt(10.0), 1e-12);
  EXPECT_NEAR(description.last_step->update_norm, std::sqrt(10.0), 1e-12);
  EXPECT_FALSE(description.checksum.has_value());
}

TEST(SessionHostTest, ChecksumIsOfTheInputsAndNotOfTheThreads) {
  std::vector<uint32_t> checksums;
  for (const size_t num_threads : {1, 2, 4}) {
    ComputePool pool(num_threads);
    TestSession session(pool, kManyShards);
    session.Start();
    const uint32_t fresh = *session.Describe().checksum;
    ASSERT_TRUE(session.Step(1, 0.1f).Get().ok());
    ASSERT_TRUE(session.Step(2, 0.3f).Get().ok());
    checksums.push_back(*session.Describe().checksum);
    EXPECT_NE(checksums.back(), fresh);
  }
  EXPECT_THAT(checksums, Each(checksums.front()));
}

// ---- settings of a step ----

StepReply StepWithLookahead(TestSession& session, uint64_t sequence, float value) {
  StepInput input = session.Input(sequence, value);
  input.wants_lookahead = true;
  StepReply stepped;
  session.host().Step(std::move(input), stepped.Callback());
  return stepped;
}

ReadReply ReadPoint(TestSession& session, core::Session::Point point) {
  ReadReply read;
  session.host().Read(point, read.Callback());
  return read;
}

TEST(SessionHostTest, LookaheadIsOfTheVersionThatStandsAfterTheStep) {
  ComputePool pool(3);
  TestSession session(pool, kManyShards, LookingAheadConfig(kManyShards));
  session.Start();
  Gate gate;
  for (int thread = 0; thread < 3; ++thread) pool.Post([&] { gate.Wait(); });
  // Queued: each sees what the ones before it left, and the last a changed rate.
  const ReadReply fresh = ReadPoint(session, core::Session::Point::kLookahead);
  const StepReply first = StepWithLookahead(session, 1, 1);
  const ReadReply read = ReadPoint(session, core::Session::Point::kLookahead);
  const StepReply second = StepWithLookahead(session, 2, 1);
  DescribeReply changed;
  session.host().Reconfigure(
      0,
      [](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
        core::SessionConfig config = current;
        config.schedule = TestConfig(1, 0.25).schedule;
        return config;
      },
      changed.Callback());
  const ReadReply slower = ReadPoint(session, core::Session::Point::kLookahead);
  gate.Open();
  EXPECT_FALSE(fresh.Get()->is_parameters);
  EXPECT_EQ(fresh.Get()->values->version, 0u);
  EXPECT_THAT(fresh.Get()->values->values.span(), Each(-50.0f));
  EXPECT_THAT(first.Get()->parameters->values.span(), Each(-0.5f));
  ASSERT_NE(first.Get()->lookahead, nullptr);
  EXPECT_EQ(first.Get()->lookahead->version, 1u);
  EXPECT_THAT(first.Get()->lookahead->values.span(), Each(-50.5f));
  EXPECT_EQ(first.Get()->next_learning_rate, 0.5);
  EXPECT_EQ(read.Get()->values->version, 1u);
  EXPECT_THAT(read.Get()->values->values.span(), Each(-50.5f));
  EXPECT_THAT(second.Get()->lookahead->values.span(), Each(-51.0f));
  ASSERT_TRUE(changed.Get().ok()) << changed.Get().status();
  EXPECT_EQ(slower.Get()->values->version, 2u);
  EXPECT_EQ(slower.Get()->next_learning_rate, 0.25);
  EXPECT_THAT(slower.Get()->values->values.span(), Each(-26.0f));
  // A replay takes no step, and is told where the next gradient is to be taken all the same.
  EXPECT_THAT(StepWithLookahead(session, 2, 1).Get()->lookahead->values.span(), Each(-26.0f));
  // Who does not ask is not given one.
  EXPECT_EQ(session.Step(3, 1).Get()->lookahead, nullptr);
}

TEST(SessionHostTest, PointsThatComeToTheParametersAreTheParameters) {
  ComputePool pool(2);
  TestSession session(pool, kManyShards);
  session.Start();
  EXPECT_EQ(StepWithLookahead(session, 1, 1).Get()->lookahead, nullptr);
  for (const auto point : {core::Session::Point::kLookahead, core::Session::Point::kAverage}) {
    const ReadReply read = ReadPoint(session, point);
    EXPECT_TRUE(read.Get()->is_parameters);
    EXPECT_EQ(read.Get()->values, session.Read());
  }
}

TEST(SessionHostTest, AverageIsReadAtItsVersionAndStaysWithItsReader) {
  core::SessionConfig config = TestConfig(kManyShards);
  config.average = core::ConfigOf<core::WeightAverageConfig>({.decay = 0.5});
  ComputePool pool(3);
  TestSession session(pool, kManyShards, std::move(config));
  session.Start();
  const StepReply step = session.Step(1, 2);
  const ReadReply read = ReadPoint(session, core::Session::Point::kAverage);
  const StepReply next = session.Step(2, 2);
  ASSERT_TRUE(next.Get().ok());
  EXPECT_FALSE(read.Get()->is_parameters);
  EXPECT_EQ(read.Get()->values->version, 1u);
  EXPECT_THAT(read.Get()->values->values.span(), Each(-0.5f));
  EXPECT_THAT(ReadPoint(session, core::Session::Point::kAverage).Get()->values->values.span(),
              Each(-1.25f));
  session.host().Delete();
  EXPECT_EQ(core::ReasonName(ReadPoint(session, core::Session::Point::kAverage).Get().status()),
            "SESSION_DELETED");
}

TEST(SessionHostTest, PendingContributionsMoveNothingAndTheLastOneTakesTheirMean) {
  core::SessionConfig config = TestConfig(kManyShards);
  core::AggregationConfig aggregation = config.aggregation.value();
  aggregation.gradient_accumulation_steps = 3;
  config.aggregation = core::ConfigOf(aggregation);
  ComputePool pool(3);
  TestSession session(pool, kManyShards, std::move(config));
  session.Start();
  const auto before = session.Read();
  const StepReply first = session.Step(1, 1);
  const StepReply second = session.Step(2, 3);
  EXPECT_EQ(first.Get()->answer.verdict, core::Verdict::kPending);
  EXPECT_EQ(first.Get()->previous, nullptr);
  EXPECT_EQ(first.Get()->parameters, before);
  EXPECT_EQ(second.Get()->answer.verdict, core::Verdict::kPending);
  EXPECT_EQ(session.Read(), before);
  const StepReply third = session.Step(3, 5);
  EXPECT_EQ(third.Get()->answer.verdict, core::Verdict::kApplied);
  EXPECT_EQ(third.Get()->answer.report->contributors, 3u);
  EXPECT_THAT(third.Get()->parameters->values.span(), Each(-1.5f));
  EXPECT_THAT(session.Step(4, 1).Get()->parameters->values.span(), Each(-1.5f));
}

TEST(SessionHostTest, GroupMapIsThatOfTheConfigurationAndGradientsStagedUnderAnOlderOneAreTaken) {
  ComputePool pool(2);
  TestSession session(pool, kManyShards);
  EXPECT_EQ(session.host().group_map(), nullptr);
  session.Start();
  const std::shared_ptr<const core::GroupMap> before = session.host().group_map();
  ASSERT_NE(before, nullptr);
  EXPECT_EQ(before->num_groups(), 1u);
  const auto staged = std::make_shared<core::StagedGradient>(kManyShards);
  const std::vector<float> gradient(kManyShards, 1);
  staged->Begin(before);
  staged->Stage({0, kManyShards}, core::Dtype::kFloat32, BytesOf(gradient).data());
  DescribeReply changed;
  session.host().Reconfigure(
      0,
      [](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
        core::SessionConfig config = current;
        core::GroupConfig group;
        group.learning_rate_factor = 0.5;
        group.max_norm = std::sqrt(static_cast<double>(kManyShards)) / 2;
        config.groups = {{"w", core::ConfigOf(group)}};
        EXPECT_TRUE(config.Resolve().ok());
        return config;
      },
      changed.Callback());
  ASSERT_TRUE(changed.Get().ok()) << changed.Get().status();
  EXPECT_EQ(session.host().group_map()->num_groups(), 2u);
  StepInput input = session.Input(1, 1);
  input.gradient = {};
  input.staged = staged;
  StepReply stepped;
  session.host().Step(std::move(input), stepped.Callback());
  EXPECT_NEAR(stepped.Get()->answer.report->clip_factor, 0.5, 1e-6);
  EXPECT_NEAR(stepped.Get()->parameters->values.span().back(), -0.125, 1e-6);
}

TEST(SessionHostTest, GroupsAreChargedLiveAndRefusedWhereTheyDoNotFit) {
  ComputePool pool(2);
  core::SessionConfig config = TestConfig(10);
  const uint64_t plain = config.MemoryBytes();
  const auto with_groups = [](size_t name_bytes) {
    return [name_bytes](const core::SessionConfig& current) -> absl::StatusOr<core::SessionConfig> {
      core::SessionConfig changed = current;
      changed.groups.clear();
      if (name_bytes > 0) changed.groups = {{"w" + std::string(name_bytes, '*'), {}}};
      EXPECT_TRUE(changed.Resolve().ok());
      return changed;
    };
  };
  MemoryBudget budget(plain + 300);
  auto host = std::make_shared<SessionHost>(
      SessionIdentity{"session", "request", 0, kHistory, absl::UnixEpoch()}, config,
      *budget.Reserve(plain), EnvOf(pool));
  const std::vector<float> initial(10);
  StatusReply created;
  pool.Post([&] {
    host->Create(core::EncodedVector{core::Dtype::kFloat32, BytesOf(initial)}, created.Callback());
  });
  ASSERT_TRUE(created.Get().ok());
  const auto change = [&](size_t name_bytes) {
    DescribeReply changed;
    host->Reconfigure(0, with_groups(name_bytes), changed.Callback());
    return changed.Get();
  };
  const auto grown = change(20);
  ASSERT_TRUE(grown.ok()) << grown.status();
  EXPECT_GT(grown->memory_bytes, plain + 20);
  EXPECT_EQ(budget.used(), grown->memory_bytes);
  EXPECT_EQ(core::ReasonName(change(250).status()), "MEMORY_QUOTA");
  EXPECT_EQ(budget.used(), grown->memory_bytes);
  EXPECT_EQ(change(0)->memory_bytes, plain);
  EXPECT_EQ(budget.used(), plain);
}

}  // namespace
}  // namespace talweg::server
