// SPDX-License-Identifier: Apache-2.0
//
// What an open round waits for is told over the wire, a changed closing rule frees it, and a
// contribution that will not count is told so.
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::PlaceRequest;
using testing::StepOf;
using testing::VectorSession;

class OpenRoundTest : public testing::ServedTest {
 protected:
  void Create(const v1::AggregationPolicy& policy) {
    v1::CreateSessionRequest request = VectorSession("s", 3);
    *request.mutable_config()->mutable_aggregation() = policy;
    const grpc::Status created = wire_->Create(request);
    ASSERT_TRUE(created.ok()) << created.error_message();
  }

  // Contributes without waiting for other workers.
  v1::StepResponse Contribute(const v1::JoinResponse& joined, const std::string& worker,
                              uint64_t sequence, uint64_t base_version = 0) {
    v1::StepRequest request = StepOf("s", joined, sequence, base_version, {1, 2, 3});
    request.mutable_header()->set_worker(worker);
    request.mutable_reply()->set_return_pending(true);
    v1::StepResponse response;
    const grpc::Status status = wire_->Step(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  void Leave(const v1::JoinResponse& joined, const std::string& worker) {
    const auto request = PlaceRequest<v1::LeaveRequest>("s", joined, worker);
    v1::LeaveResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().Leave(&context, request, &response).ok());
  }

  void Update(const std::vector<std::string>& paths, const v1::AggregationPolicy& policy) {
    v1::UpdateSessionRequest request;
    request.set_session_id("s");
    for (const std::string& path : paths) request.mutable_update_mask()->add_paths(path);
    *request.mutable_config()->mutable_aggregation() = policy;
    v1::UpdateSessionResponse response;
    grpc::ClientContext context;
    const grpc::Status status = wire_->sessions().UpdateSession(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  v1::Session Get() {
    v1::GetSessionRequest request;
    request.set_session_id("s");
    v1::GetSessionResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().GetSession(&context, request, &response).ok());
    return response.session();
  }

  void AwaitVersion(uint64_t version) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (Get().version() < version && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
    ASSERT_EQ(Get().version(), version);
  }
};

v1::AggregationPolicy Synchronous(v1::CloseRule close) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
  policy.set_close(close);
  return policy;
}

TEST_F(OpenRoundTest, TellsWhoContributedWhoIsExpectedAndWhoIsLate) {
  Create(Synchronous(v1::CLOSE_RULE_ALL));
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  const v1::JoinResponse c = wire_->Join("s", "c");
  EXPECT_FALSE(Get().has_open_round());
  EXPECT_EQ(Contribute(a, "a", 1).verdict(), v1::VERDICT_PENDING);
  v1::OpenRound round = Get().open_round();
  EXPECT_EQ(round.version(), 1u);
  EXPECT_THAT(round.contributed().names(), ElementsAre("a"));
  EXPECT_THAT(round.expected().names(), ElementsAre("b", "c"));
  EXPECT_EQ(round.expected().count(), 2u);
  EXPECT_THAT(round.late().names(), IsEmpty());
  EXPECT_EQ(round.close(), v1::CLOSE_RULE_ALL);
  EXPECT_EQ(round.close_config_version(), 1u);
  EXPECT_EQ(round.num_contributions(), 1u);
  EXPECT_EQ(round.weight(), 1);
  EXPECT_GE(round.open_seconds(), 0);
  EXPECT_LT(round.open_seconds(), 60);
  EXPECT_LE(round.frozen_seconds(), round.open_seconds());
  EXPECT_FALSE(round.has_closes_in_seconds());
  Leave(c, "c");
  round = Get().open_round();
  EXPECT_THAT(round.expected().names(), ElementsAre("b"));
  EXPECT_THAT(round.late().names(), ElementsAre("c"));
  Contribute(b, "b", 1);
  AwaitVersion(1);
  EXPECT_FALSE(Get().has_open_round());
}

TEST_F(OpenRoundTest, TellsTheDeadline) {
  v1::AggregationPolicy policy = Synchronous(v1::CLOSE_RULE_DEADLINE);
  policy.set_close_seconds(600);
  Create(policy);
  const v1::JoinResponse a = wire_->Join("s", "a");
  wire_->Join("s", "b");
  Contribute(a, "a", 1);
  const v1::OpenRound round = Get().open_round();
  EXPECT_EQ(round.close(), v1::CLOSE_RULE_DEADLINE);
  EXPECT_GT(round.closes_in_seconds(), 500);
  EXPECT_LE(round.closes_in_seconds(), 600);
}

TEST_F(OpenRoundTest, BoundedStalenessTellsTheSlowest) {
  v1::AggregationPolicy policy;
  policy.set_mode(v1::AGGREGATION_MODE_BOUNDED_STALENESS);
  Create(policy);
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  EXPECT_EQ(Contribute(a, "a", 1).verdict(), v1::VERDICT_PENDING);
  const v1::OpenRound round = Get().open_round();
  EXPECT_THAT(round.expected().names(), ElementsAre("b"));
  EXPECT_EQ(round.close(), v1::CLOSE_RULE_UNSPECIFIED);
  Contribute(b, "b", 1);
  EXPECT_FALSE(Get().has_open_round());
}

TEST_F(OpenRoundTest, ARoundThatIsStuckOnACountIsFreedByASmallerOne) {
  v1::AggregationPolicy policy = Synchronous(v1::CLOSE_RULE_COUNT);
  policy.set_close_count(3);
  Create(policy);
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  Contribute(a, "a", 1);
  Contribute(b, "b", 1);
  v1::OpenRound round = Get().open_round();
  EXPECT_EQ(round.num_contributions(), 2u);
  EXPECT_EQ(round.needed_contributions(), 3u);
  EXPECT_EQ(round.too_few(), v1::TOO_FEW_WAIT);
  EXPECT_THAT(round.expected().names(), IsEmpty());
  policy.set_close_count(2);
  Update({"aggregation.close_count"}, policy);
  AwaitVersion(1);
  const v1::StepResponse again = Contribute(a, "a", 1);
  EXPECT_EQ(again.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(again.report().contributors(), 2u);
  Contribute(a, "a", 2, 1);
  Contribute(b, "b", 2, 1);
  AwaitVersion(2);
  v1::ListVersionRecordsRequest request;
  request.set_session_id("s");
  v1::ListVersionRecordsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(wire_->sessions().ListVersionRecords(&context, request, &response).ok());
  ASSERT_EQ(response.records_size(), 2);
  EXPECT_EQ(response.records(0).config_version(), 1u);
  EXPECT_EQ(response.records(0).close_config_version(), 2u);
  EXPECT_EQ(response.records(1).config_version(), 2u);
  EXPECT_EQ(response.records(1).close_config_version(), 0u);
}

TEST_F(OpenRoundTest, ASecondContributionToOneRoundIsToldThatItWillNotCount) {
  Create(Synchronous(v1::CLOSE_RULE_ALL));
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  EXPECT_FALSE(Contribute(a, "a", 1).will_not_count());
  EXPECT_THAT(Get().open_round().will_not_count().names(), IsEmpty());
  const v1::StepResponse second = Contribute(a, "a", 2);
  EXPECT_EQ(second.verdict(), v1::VERDICT_PENDING);
  EXPECT_TRUE(second.will_not_count());
  EXPECT_EQ(Get().open_round().will_not_count().count(), 1u);
  EXPECT_THAT(Get().open_round().will_not_count().names(), ElementsAre("a"));
  const v1::StepResponse repeat = Contribute(a, "a", 2);
  EXPECT_TRUE(repeat.replayed());
  EXPECT_TRUE(repeat.will_not_count());
  Contribute(b, "b", 1);
  AwaitVersion(1);
  const v1::StepResponse told = Contribute(a, "a", 2);
  EXPECT_EQ(told.verdict(), v1::VERDICT_ROUND_CLOSED);
  EXPECT_FALSE(told.will_not_count());
}

TEST_F(OpenRoundTest, ACallThatWaitsIsListedAsNotCountingBeforeTheClose) {
  Create(Synchronous(v1::CLOSE_RULE_ALL));
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  Contribute(a, "a", 1);
  v1::StepRequest request = StepOf("s", a, /*sequence=*/2, /*base_version=*/0, {1, 2, 3});
  request.mutable_header()->set_worker("a");
  v1::StepResponse told;
  std::thread waiting([&] { EXPECT_TRUE(wire_->Step(request, &told).ok()); });
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (Get().open_round().will_not_count().count() == 0 && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(Get().open_round().will_not_count().names(), ElementsAre("a"));
  EXPECT_THAT(Get().open_round().contributed().names(), ElementsAre("a"));
  Contribute(b, "b", 1);
  waiting.join();
  EXPECT_EQ(told.verdict(), v1::VERDICT_ROUND_CLOSED);
  EXPECT_FALSE(Get().has_open_round());
}

}  // namespace
}  // namespace talweg
