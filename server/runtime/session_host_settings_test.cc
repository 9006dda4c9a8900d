// SPDX-License-Identifier: Apache-2.0
//
// The settings of a step, as a host shows them: lookahead, average, accumulation, groups.
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;

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
  // All calls are queued: each sees the state that the calls before it left, and the last call sees
  // another rate.
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
  // A replay takes no step, but it is told the lookahead all the same.
  EXPECT_THAT(StepWithLookahead(session, 2, 1).Get()->lookahead->values.span(), Each(-26.0f));
  // A call that does not ask for the lookahead gets none.
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

// An update whose answer was lost, and an attempt of it that is looked at after a later update.
TEST(SessionHostTest, AnUpdateOfAConfigurationThatHasChangedIsRefused) {
  ComputePool pool(1);
  TestSession session(pool, 1);
  session.Start();
  const auto set_rate = [&](double rate, std::optional<uint64_t> expected) {
    DescribeReply changed;
    session.host().Reconfigure(
        0,
        [rate](const core::SessionConfig&) -> absl::StatusOr<core::SessionConfig> {
          return TestConfig(1, rate);
        },
        changed.Callback(), expected);
    return changed.Get();
  };
  EXPECT_EQ(set_rate(0.25, 1)->config_version, 2u);
  EXPECT_EQ(set_rate(0.25, 1)->config_version, 2u);  // the retry: nothing is left to change
  EXPECT_EQ(set_rate(0.125, 2)->config_version, 3u);
  const absl::Status late = set_rate(0.25, 1).status();
  EXPECT_EQ(core::ReasonName(late), "CONFIG_CHANGED");
  EXPECT_EQ(core::MetadataOf(late), (core::ErrorMetadata{{"config_version", "3"}}));
  EXPECT_EQ(core::ReasonName(set_rate(0.25, 4).status()), "CONFIG_CHANGED");
  EXPECT_EQ(session.Describe().config->schedule.rate().value().learning_rate, 0.125);
  EXPECT_EQ(set_rate(0.5, std::nullopt)->config_version, 4u);
}

}  // namespace
}  // namespace talweg::server
