// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.heartbeats = false;
  }
  Client MakeClient() const { return {std::make_shared<FakeTransport>(server_), options_}; }

  static v1::CreateSessionRequest AdamRequest() {
    v1::CreateSessionRequest request;
    request.set_session_id("mlp");
    v1::Tensor& tensor = *request.mutable_config()->mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(4);
    request.mutable_config()->mutable_optimizer()->mutable_adam();
    return request;
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
};

TEST_F(ClientTest, CreateIsRetriedUnderOneRequestId) {
  server_->faults = {Fault::kLoseReply, Fault::kLoseRequest};
  const auto created = MakeClient().CreateSession(AdamRequest());
  ASSERT_TRUE(created.ok()) << created.status();
  ASSERT_EQ(server_->request_ids.size(), 2u);
  EXPECT_EQ(server_->request_ids[0], server_->request_ids[1]);
  EXPECT_EQ(server_->request_ids[0].size(), 32u);
}

TEST_F(ClientTest, TwoCreatesHaveTwoRequestIds) {
  const Client client = MakeClient();
  ASSERT_TRUE(client.CreateSession(AdamRequest()).ok());
  const auto second = client.CreateSession(AdamRequest());
  EXPECT_EQ(ReasonOf(second.status()), "SESSION_EXISTS");
  EXPECT_EQ(FieldOf(second.status()), "session_id");
}

TEST_F(ClientTest, CreateOrAttachTakesASessionThatFits) {
  const Client client = MakeClient();
  const auto first = client.CreateOrAttach(AdamRequest());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->created);
  server_->session.set_layout_digest(LayoutDigest(AdamRequest().config().layout()));
  const auto second = client.CreateOrAttach(AdamRequest());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(second->created);
  EXPECT_EQ(second->session.history(), 7u);
}

TEST_F(ClientTest, CreateOrAttachSaysWhatDiffers) {
  const Client client = MakeClient();
  ASSERT_TRUE(client.CreateSession(AdamRequest()).ok());
  server_->session.set_layout_digest(LayoutDigest(AdamRequest().config().layout()));

  v1::CreateSessionRequest other_method = AdamRequest();
  other_method.mutable_config()->mutable_optimizer()->mutable_momentum();
  const absl::Status method = client.CreateOrAttach(other_method).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(method));
  EXPECT_THAT(method.message(), HasSubstr("its optimizer is adam, asked for momentum"));

  v1::CreateSessionRequest other_layout = AdamRequest();
  other_layout.mutable_config()->mutable_layout()->mutable_tensors(0)->set_shape(0, 5);
  const absl::Status layout = client.CreateOrAttach(other_layout).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(layout));
  EXPECT_THAT(layout.message(), HasSubstr("its layout is \"w:4\", asked for \"w:5\""));
}

// Known values of FNV-1a, 64 bits.
TEST_F(ClientTest, LayoutDigestIsThatOfTheWire) {
  v1::Layout layout;
  EXPECT_EQ(LayoutDigest(layout), 0xcbf29ce484222325u);
  v1::Tensor& tensor = *layout.add_tensors();
  tensor.set_name("w");
  tensor.add_shape(2);
  tensor.add_shape(3);
  layout.add_tensors()->set_name("s");
  EXPECT_EQ(LayoutDigest(layout), 0xab4b78be036a707eu);  // of "1:w:2,3;1:s:;"
}

TEST_F(ClientTest, TheCallsOfAWorkersLifeAreThereOneByOne) {
  server_->version = 3;
  v1::JoinRequest join;
  join.set_session_id("mlp");
  join.set_worker("a");
  join.add_roles(v1::ROLE_STATISTICS);
  const v1::JoinResponse joined = MakeClient().CallJoin(join).value();
  EXPECT_EQ(joined.history(), server_->history);
  EXPECT_EQ(joined.version(), 3u);
  EXPECT_EQ(joined.incarnation(), 1u);
  EXPECT_EQ(joined.lease_seconds(), server_->lease_seconds);
  ASSERT_EQ(server_->joins.size(), 1u);
  EXPECT_EQ(server_->joins[0].roles(0), v1::ROLE_STATISTICS);
  EXPECT_EQ(MakeClient().CallHeartbeat({})->lease_seconds(), server_->lease_seconds);
  EXPECT_EQ(server_->num_heartbeats, 1);
  // A lost reply is no failure, a second farewell is one.
  server_->faults = {Fault::kLoseReply};
  EXPECT_TRUE(MakeClient().CallLeave({}).ok());
  EXPECT_FALSE(server_->joined);
  EXPECT_EQ(ReasonOf(MakeClient().CallLeave({})), "WORKER_NOT_JOINED");
}

TEST_F(ClientTest, ListWalksEveryPage) {
  const auto sessions = MakeClient().ListSessions();
  ASSERT_TRUE(sessions.ok());
  ASSERT_EQ(sessions->size(), 2u);
  EXPECT_EQ((*sessions)[0].session_id(), "a");
  EXPECT_EQ((*sessions)[1].session_id(), "b");
}

TEST_F(ClientTest, DeleteWhoseReplyWasLostIsDone) {
  const Client client = MakeClient();
  ASSERT_TRUE(client.CreateSession(AdamRequest()).ok());
  server_->faults = {Fault::kNone, Fault::kLoseReply};  // get, delete
  EXPECT_TRUE(client.DeleteSession("mlp").ok());
  EXPECT_EQ(ReasonOf(client.DeleteSession("mlp")), "SESSION_NOT_FOUND");
}

TEST_F(ClientTest, DeleteOfAnotherHistoryIsRefused) {
  const Client client = MakeClient();
  ASSERT_TRUE(client.CreateSession(AdamRequest()).ok());
  EXPECT_EQ(ReasonOf(client.DeleteSession("mlp", 8)), "HISTORY_CHANGED");
}

TEST_F(ClientTest, ErrorsOfTheServerAreNotRetried) {
  server_->refusals = {ServerError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND")};
  EXPECT_EQ(ReasonOf(MakeClient().GetSession("mlp").status()), "SESSION_NOT_FOUND");
  EXPECT_TRUE(server_->refusals.empty());
}

TEST_F(ClientTest, DrainingIsRetried) {
  server_->refusals = {ServerError(absl::StatusCode::kUnavailable, "DRAINING")};
  EXPECT_TRUE(MakeClient().CreateSession(AdamRequest()).ok());
}

TEST_F(ClientTest, GivesUpAfterTheOverallTimeout) {
  options_.retry.overall_timeout = absl::Milliseconds(20);
  server_->faults = std::deque<Fault>(1000, Fault::kLoseRequest);
  EXPECT_TRUE(absl::IsUnavailable(MakeClient().GetSession("mlp").status()));
  EXPECT_LT(server_->faults.size(), 999u);  // more than one attempt
  EXPECT_GT(server_->faults.size(), 0u);
}

TEST_F(ClientTest, EveryRetryIsToldWithItsReason) {
  std::vector<absl::Status> told;
  options_.retry.retrying = [&](const absl::Status& why) { told.push_back(why); };
  server_->faults = {Fault::kLoseReply, Fault::kLoseRequest};
  ASSERT_TRUE(MakeClient().CreateSession(AdamRequest()).ok());
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(absl::IsUnavailable(told[0])) << told[0];
}

TEST_F(ClientTest, MakesNoRetryOnceToldToStop) {
  options_.retry.stop = [] { return true; };
  server_->faults = {Fault::kLoseRequest, Fault::kLoseRequest};
  EXPECT_TRUE(absl::IsUnavailable(MakeClient().GetSession("mlp").status()));
  EXPECT_EQ(server_->faults.size(), 1u);
}

TEST_F(ClientTest, VersionRecordsAreReadPageByPageInOneHistory) {
  for (const uint64_t version : {3, 4, 5, 6, 8}) {
    server_->made.emplace_back().set_version(version);
  }
  server_->faults = {Fault::kNone, Fault::kLoseReply};
  const auto records = MakeClient().VersionRecords("mlp", {.after_version = 3});
  ASSERT_TRUE(records.ok()) << records.status();
  std::vector<uint64_t> versions;
  for (const v1::VersionRecord& record : *records) versions.push_back(record.version());
  EXPECT_THAT(versions, ::testing::ElementsAre(4, 5, 6, 8));
  ASSERT_EQ(server_->record_requests.size(), 3u);  // the second page twice
  EXPECT_EQ(server_->record_requests[0].history(), 0u);
  EXPECT_EQ(server_->record_requests[1].history(), 7u);
  EXPECT_EQ(server_->record_requests[1].after_version(), 5u);
  EXPECT_EQ(server_->record_requests[2].after_version(), 5u);
}

TEST_F(ClientTest, VersionRecordsOfASessionWithoutAnyAreNone) {
  EXPECT_TRUE(MakeClient().VersionRecords("mlp")->empty());
}

TEST_F(ClientTest, MissedDeadlineOpensANewConnection) {
  server_->faults = {Fault::kLateReply, Fault::kLoseReply};
  EXPECT_TRUE(MakeClient().CreateSession(AdamRequest()).ok());
  EXPECT_EQ(server_->num_reconnects, 1);
}

}  // namespace
}  // namespace talweg
