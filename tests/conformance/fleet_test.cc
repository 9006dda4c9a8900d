// SPDX-License-Identifier: Apache-2.0
//
// What the workers of a fleet say and are told, over real connections: differences, weights, roles,
// leases, and the records of versions.
#include <cmath>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/conformance/waiting_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ChunksOf;
using testing::ErrorOf;
using testing::Floats;
using testing::VectorSession;
using testing::WaitingTest;
using testing::WireStream;

TEST_F(WaitingTest, DifferenceIsTakenInBothShapes) {
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse a = wire_->Join("s", "a");
  EXPECT_FALSE(a.replies_wait());
  v1::StepRequest request = Request(a, "a", 4);
  request.mutable_sections(0)->set_kind(v1::SECTION_KIND_DIFFERENCE);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  auto chunks = ChunksOf(std::vector<float>(kElements, 2), 65536);
  for (auto& chunk : chunks) {
    chunk.mutable_chunk()->mutable_section()->set_kind(v1::SECTION_KIND_DIFFERENCE);
  }
  WireStream stream(wire_->training());
  v1::StepRequest second = Request(a, "a", 0, 2);
  second.mutable_reply()->set_data(v1::REPLY_DATA_PARAMETERS);
  ASSERT_TRUE(stream.Step(second, chunks, &response));
  EXPECT_EQ(Floats(response.sections(0).data()), std::vector<float>(kElements, 3));
  EXPECT_TRUE(stream.Finish().ok());
}

// The worker sends nothing except its chunks: no heartbeat, and no other call.
TEST_F(WaitingTest, ChunksRenewTheLease) {
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  create.mutable_config()->mutable_aggregation()->set_lease_seconds(1);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::StepRequest request = Request(a, "a", 1);
  const auto chunks = ChunksOf(std::vector<float>(kElements, 1), 65536);
  ASSERT_EQ(chunks.size(), 3u);
  WireStream stream(wire_->training());
  ASSERT_TRUE(stream.WriteHeader(request));
  ASSERT_TRUE(stream.ReadGrant());
  for (const auto& chunk : chunks) {
    while (wire_->Get("s").num_live_workers() > 0) absl::SleepFor(absl::Milliseconds(10));
    ASSERT_TRUE(stream.Write(chunk));
    while (wire_->Get("s").num_live_workers() == 0) absl::SleepFor(absl::Milliseconds(10));
  }
  ASSERT_TRUE(stream.WriteCommit());
  v1::StepResponse response;
  ASSERT_TRUE(stream.ReadReply(&response));
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
}

TEST_F(WaitingTest, RolesAreWhatAWorkerIsExpectedFor) {
  Create("s", 10);
  const auto join = [&](const std::string& worker, const std::vector<int>& roles,
                        v1::JoinResponse* response) {
    v1::JoinRequest request;
    request.set_session_id("s");
    request.set_worker(worker);
    for (const int role : roles) request.add_roles(static_cast<v1::Role>(role));
    grpc::ClientContext context;
    return ErrorOf(wire_->sessions().Join(&context, request, response));
  };
  v1::JoinResponse response;
  EXPECT_EQ(join("a", {v1::ROLE_SEARCH}, &response).reason, "WRONG_METHOD");
  for (const auto& roles : std::vector<std::vector<int>>{
           {v1::ROLE_UNSPECIFIED}, {99}, {v1::ROLE_GRADIENT, v1::ROLE_GRADIENT}}) {
    const auto error = join("a", roles, &response);
    EXPECT_EQ(error.reason, "FIELD_OUT_OF_RANGE");
    EXPECT_EQ(error.field, "roles");
  }
  // No round waits for statistics.
  v1::JoinResponse statistics;
  EXPECT_EQ(join("b", {v1::ROLE_STATISTICS}, &statistics).reason, "");
  v1::StepRequest step = Request(statistics, "b", 1, 1, 10);
  EXPECT_EQ(ErrorOf(wire_->Step(step)).reason, "ROLE_MISSING");
  EXPECT_EQ(join("a", {v1::ROLE_STATISTICS, v1::ROLE_GRADIENT}, &response).reason, "");
  ASSERT_TRUE(wire_->Step(Request(response, "a", 1, 1, 10)).ok());
}

TEST_F(WaitingTest, WeightsAreCheckedAndTold) {
  Create("s", 10);
  const v1::JoinResponse a = wire_->Join("s", "a");
  for (const float weight : {0.0f, -1.0f, NAN, INFINITY}) {
    v1::StepRequest request = Request(a, "a", 1, 1, 10);
    request.mutable_header()->set_weight(weight);
    const auto error = ErrorOf(wire_->Step(request));
    EXPECT_EQ(error.reason, "FIELD_OUT_OF_RANGE");
    EXPECT_EQ(error.field, "header.weight");
  }
  v1::StepRequest request = Request(a, "a", 1, 1, 10);
  request.mutable_header()->set_weight(128);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.report().total_weight(), 128);
  // The same gradient with another weight is another contribution.
  request.mutable_header()->set_weight(64);
  EXPECT_EQ(ErrorOf(wire_->Step(request)).reason, "SEQUENCE_REUSED");
}

TEST_F(WaitingTest, RecordsAreListedPageByPage) {
  Create("s", 10);
  const v1::JoinResponse a = wire_->Join("s", "a");
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
    ASSERT_TRUE(wire_->Step(Request(a, "a", 1, sequence, 10)).ok());
  }
  v1::ListVersionRecordsRequest request;
  request.set_session_id("s");
  request.set_page_size(2);
  std::vector<uint64_t> versions;
  v1::ListVersionRecordsResponse response;
  do {
    grpc::ClientContext context;
    ASSERT_TRUE(wire_->sessions().ListVersionRecords(&context, request, &response).ok());
    EXPECT_EQ(response.history(), a.history());
    for (const v1::VersionRecord& record : response.records()) {
      versions.push_back(record.version());
      ASSERT_EQ(record.members_size(), 1);
      EXPECT_EQ(record.members(0).worker(), "a");
      EXPECT_EQ(record.members(0).sequence(), record.version());
      EXPECT_EQ(record.members(0).base_version(), record.version() - 1);
      EXPECT_NEAR(static_cast<double>(record.close_time().seconds()),
                  absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 3600);
    }
    request.set_after_version(versions.back());
  } while (response.more());
  EXPECT_EQ(versions, (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  request.set_history(a.history() + 1);
  grpc::ClientContext context;
  EXPECT_EQ(ErrorOf(wire_->sessions().ListVersionRecords(&context, request, &response)).reason,
            "HISTORY_CHANGED");
  request.set_history(0);
  request.set_page_size(1001);
  grpc::ClientContext other;
  EXPECT_EQ(ErrorOf(wire_->sessions().ListVersionRecords(&other, request, &response)).field,
            "page_size");
}

}  // namespace
}  // namespace talweg
