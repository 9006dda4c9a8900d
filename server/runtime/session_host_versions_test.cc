// SPDX-License-Identifier: Apache-2.0
//
// What goes along with a new version: its lookahead, its memory, its record, its configuration.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/reasons.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/session_host.h"
#include "server/runtime/test_fleet.h"
#include "server/runtime/test_session.h"
#include "server/runtime/test_support.h"

namespace talweg::server {
namespace {

using ::testing::Each;

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
  // Each round has a vector of its own.
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
        {worker}, [incarnation] { return incarnation; }, joined.Callback());
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
  // A round is open and no memory is left: a reader holds version 0, and the rest is reserved.
  auto held = read();
  const StepReply waiting = step(1, "a", 1);
  DescribeReply settled;
  host->Describe({}, settled.Callback());
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
  // The times are those of the wall clock.
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
  // The answer tells the configuration that was asked for.
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
