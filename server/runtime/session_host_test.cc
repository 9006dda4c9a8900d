// SPDX-License-Identifier: Apache-2.0
//
// What a host promises to one worker: steps in order and once, first values, membership, changes.
#include "server/runtime/session_host.h"

#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
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
        // The version is whole: every element was moved as often as its number says.
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
  // The retry is the first contribution that counts.
  const StepReply retry = session.Step(session.Input(1, 1), &ticket);
  EXPECT_FALSE(retry.Get()->answer.replayed);
  EXPECT_EQ(retry.Get()->answer.applied_version, 1u);
  // The retry was answered, so there is nothing left to give up.
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
        {"w"}, [] { return 1; }, [&](auto joined) { log.Add(joined.ok() ? "joined" : "refused"); });
    session.host().Describe(
        {}, [&](auto described) { log.Add(described.ok() ? "described" : "refused"); });
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

TEST(SessionHostTest, RepeatedJoinIsToldTheIncarnationThatItsWorkerHas) {
  ComputePool pool(2);
  TestSession session(pool, 10);
  session.Start();
  const auto join = [&](uint64_t issued, uint64_t nonce) {
    JoinReply joined;
    session.host().Join(
        {"a", 0, {core::Role::kGradient}, nonce}, [issued] { return issued; }, joined.Callback());
    return joined.Get()->incarnation;
  };
  EXPECT_EQ(join(5, 30), 5u);
  EXPECT_EQ(join(6, 30), 5u);
  EXPECT_TRUE(session.Step(1, 1, "a", 5).Get().ok());
  EXPECT_EQ(join(7, 40), 7u);
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
  // All three calls are queued before the first starts.
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
  EXPECT_EQ(description.digest, nullptr);
}

TEST(SessionHostTest, DigestIsOfTheStepsAndNotOfTheThreads) {
  std::vector<core::Sha256> digests;
  for (const size_t num_threads : {1, 2, 4}) {
    ComputePool pool(num_threads);
    TestSession session(pool, kManyShards);
    session.Start();
    ASSERT_TRUE(session.Step(1, 0.1f).Get().ok());
    DescribeReply described;
    // A step that comes meanwhile waits, and is no part of it.
    session.host().Describe({.digest = true}, described.Callback());
    auto step = session.Step(2, 0.3f);
    const SessionDescription description = described.Get().value();
    ASSERT_TRUE(step.Get().ok());
    EXPECT_EQ(description.digest->version, 1u);
    digests.push_back(description.digest->sha256);
  }
  EXPECT_THAT(digests, Each(digests.front()));
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

}  // namespace
}  // namespace talweg::server
