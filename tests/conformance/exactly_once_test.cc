// SPDX-License-Identifier: Apache-2.0
//
// Exactly-once over real connections that break at the worst moment, with the C++ client, whose
// retries are part of the promise, and with bare stubs.
#include <chrono>
#include <limits>
#include <thread>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/proxy.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::Floats;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;

class ExactlyOnceTest : public testing::ServedTest {
 protected:
  int port() const {
    return std::stoi(server_->address().substr(server_->address().rfind(':') + 1));
  }
};

TEST_F(ExactlyOnceTest, RetryAfterALostReplyIsReplayedAndChangesNothing) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1000, "adam")).ok());
  testing::Proxy proxy(port());
  absl::StatusOr<Client> client = Client::Connect(proxy.address());
  ASSERT_TRUE(client.ok()) << client.status();
  absl::StatusOr<Session> session = client->Join("s", "a");
  ASSERT_TRUE(session.ok()) << session.status();
  const std::vector<float> gradient(1000, 0.25f);
  std::vector<float> parameters(1000);
  ASSERT_TRUE(session->Step(gradient, absl::MakeSpan(parameters)).ok());

  for (uint64_t round = 2; round < 6; ++round) {
    proxy.DropReplies();
    absl::StatusOr<StepResult> result;
    std::thread worker([&] { result = session->Step(gradient, absl::MakeSpan(parameters)); });
    // The step is taken, its reply is on the way and will not arrive.
    while (wire_->Get("s").version() < round) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const uint32_t checksum = wire_->Checksum("s");
    const size_t connections = proxy.num_connections();
    proxy.CutAndHeal();
    worker.join();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->replayed);
    EXPECT_GE(result->num_attempts, 2);
    EXPECT_GT(proxy.num_connections(), connections);
    EXPECT_EQ(result->verdict, v1::VERDICT_APPLIED);
    EXPECT_EQ(result->applied_version, round);
    EXPECT_EQ(result->data_version, round);
    EXPECT_EQ(wire_->Get("s").version(), round);
    EXPECT_EQ(wire_->Checksum("s"), checksum);
    // The data that came with the replay are the session's.
    std::vector<float> pulled;
    v1::PullRequest pull;
    pull.set_session_id("s");
    ASSERT_TRUE(wire_->Pull(pull, &pulled).ok());
    EXPECT_EQ(pulled, parameters);
  }
}

TEST_F(ExactlyOnceTest, RepeatByHandIsTheSameAnswer) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 3, "momentum")).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  v1::StepRequest request = StepOf("s", joined, 1, 0, {1, 2, 2});
  request.mutable_header()->add_losses(0.75);
  v1::StepResponse first;
  ASSERT_TRUE(wire_->Step(request, &first).ok());
  EXPECT_FALSE(first.replayed());
  EXPECT_EQ(first.report().gradient_norm(), 3);
  EXPECT_EQ(first.report().loss(), 0.75);
  const uint32_t checksum = wire_->Checksum("s");
  v1::StepResponse repeat;
  ASSERT_TRUE(wire_->Step(request, &repeat).ok());
  EXPECT_TRUE(repeat.replayed());
  repeat.set_replayed(false);
  EXPECT_EQ(repeat.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(wire_->Checksum("s"), checksum);

  // Later the same repeat names the version of the data it gets.
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 2, 1, {1, 1, 1})).ok());
  const v1::StepRequest second = StepOf("s", joined, 2, 1, {1, 1, 1});
  ASSERT_TRUE(wire_->Step(second, &repeat).ok());
  EXPECT_TRUE(repeat.replayed());
  EXPECT_EQ(repeat.applied_version(), 2u);
  EXPECT_EQ(repeat.data_version(), 2u);
}

TEST_F(ExactlyOnceTest, RejectedSequenceStaysConsumed) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 3, "adam")).ok());
  ASSERT_TRUE(wire_->Create(VectorSession("clean", 3, "adam")).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  const v1::JoinResponse clean = wire_->Join("clean");
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, {1, 2, 3})).ok());
  ASSERT_TRUE(wire_->Step(StepOf("clean", clean, 1, 0, {1, 2, 3})).ok());

  uint64_t sequence = 2;
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    const v1::StepRequest request = StepOf("s", joined, sequence++, 1, {1, bad, 3});
    v1::StepResponse response;
    ASSERT_TRUE(wire_->Step(request, &response).ok());
    EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
    EXPECT_FALSE(response.has_report());
    EXPECT_EQ(response.applied_version(), 1u);
    const uint32_t checksum = wire_->Checksum("s");
    ASSERT_TRUE(wire_->Step(request, &response).ok());
    EXPECT_TRUE(response.replayed());
    EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
    v1::StepRequest mended = request;
    mended.mutable_sections(0)->set_data(Bytes({1, 2, 3}));
    EXPECT_EQ(ErrorOf(wire_->Step(mended)).reason, "SEQUENCE_REUSED");
    EXPECT_EQ(wire_->Checksum("s"), checksum);
  }
  EXPECT_EQ(wire_->Get("s").version(), 1u);
  // Only the sequence changed: the next step gives the bits of a session that saw no NaN.
  v1::StepResponse after;
  v1::StepResponse reference;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, sequence, 1, {3, -1, 2}), &after).ok());
  ASSERT_TRUE(wire_->Step(StepOf("clean", clean, 2, 1, {3, -1, 2}), &reference).ok());
  EXPECT_EQ(after.sections(0).data(), reference.sections(0).data());
}

TEST_F(ExactlyOnceTest, DeletedAndRecreatedSessionRefusesTheOldHistory) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 3)).ok());
  absl::StatusOr<Client> client = Client::Connect(server_->address());
  ASSERT_TRUE(client.ok());
  absl::StatusOr<Session> session = client->Join("s", "a");
  ASSERT_TRUE(session.ok());
  const std::vector<float> gradient = {1, 2, 3};
  std::vector<float> parameters(3);
  ASSERT_TRUE(session->Step(gradient, absl::MakeSpan(parameters)).ok());
  const uint64_t old_history = session->history();
  ASSERT_TRUE(client->DeleteSession("s").ok());
  // The new session has another layout: a worker whose history is lost is told so before the shape
  // of its gradient is judged.
  ASSERT_TRUE(wire_->Create(VectorSession("s", 4)).ok());
  EXPECT_EQ(ReasonOf(session->Step(gradient, absl::MakeSpan(parameters)).status()),
            "HISTORY_CHANGED");
  v1::PullRequest pull;
  std::vector<float> ignored;
  pull.set_session_id("s");
  pull.set_history(old_history);
  pull.set_begin_element(1000);
  EXPECT_EQ(ErrorOf(wire_->Pull(pull, &ignored)).reason, "HISTORY_CHANGED");
  ASSERT_TRUE(client->DeleteSession("s").ok());
  ASSERT_TRUE(wire_->Create(VectorSession("s", 3)).ok());
  const uint32_t checksum = wire_->Checksum("s");

  const absl::StatusOr<StepResult> refused = session->Step(gradient, absl::MakeSpan(parameters));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(refused.status()), "HISTORY_CHANGED");
  EXPECT_EQ(wire_->Checksum("s"), checksum);

  const absl::StatusOr<uint64_t> version = session->Reattach();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 0u);
  EXPECT_NE(session->history(), old_history);
  ASSERT_TRUE(session->Pull(absl::MakeSpan(parameters)).ok());
  EXPECT_EQ(parameters, std::vector<float>(3, 0));
  const absl::StatusOr<StepResult> applied = session->Step(gradient, absl::MakeSpan(parameters));
  ASSERT_TRUE(applied.ok()) << applied.status();
  EXPECT_EQ(applied->applied_version, 1u);
}

TEST_F(ExactlyOnceTest, SuccessorFencesItsPredecessor) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 3)).ok());
  absl::StatusOr<Client> client = Client::Connect(server_->address());
  ASSERT_TRUE(client.ok());
  absl::StatusOr<Session> zombie = client->Join("s", "a");
  absl::StatusOr<Session> successor = client->Join("s", "a");
  ASSERT_TRUE(zombie.ok() && successor.ok());
  EXPECT_GT(successor->incarnation(), zombie->incarnation());
  const std::vector<float> gradient = {1, 2, 3};
  std::vector<float> parameters(3);
  EXPECT_EQ(ReasonOf(zombie->Step(gradient, absl::MakeSpan(parameters)).status()),
            "INCARNATION_FENCED");
  EXPECT_EQ(ReasonOf(zombie->Reattach().status()), "INCARNATION_FENCED");
  EXPECT_TRUE(successor->Step(gradient, absl::MakeSpan(parameters)).ok());
}

TEST_F(ExactlyOnceTest, CreateIsSafeToRepeat) {
  const v1::CreateSessionRequest request = VectorSession("s", 3);
  v1::CreateSessionResponse first;
  v1::CreateSessionResponse again;
  ASSERT_TRUE(wire_->Create(request, &first).ok());
  ASSERT_TRUE(wire_->Create(request, &again).ok());
  EXPECT_EQ(first.session().history(), again.session().history());
  v1::CreateSessionRequest other = request;
  other.mutable_config()->mutable_schedule()->set_learning_rate(0.25);
  EXPECT_EQ(ErrorOf(wire_->Create(other)).reason, "SESSION_EXISTS");
  v1::CreateSessionRequest nameless = request;
  nameless.clear_request_id();
  EXPECT_EQ(ErrorOf(wire_->Create(nameless)).code, grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(ExactlyOnceTest, OneOfTwoRacingCreatorsWins) {
  WireClient other(server_->address());
  for (int round = 0; round < 50; ++round) {
    const std::string id = "race-" + std::to_string(round);
    // In every other round both send the same request, as a client and its own retry would.
    const bool same = round % 2 == 0;
    v1::CreateSessionRequest left = VectorSession(id, 1000);
    v1::CreateSessionRequest right = VectorSession(id, same ? 1000 : 999);
    if (!same) right.set_request_id("another request");
    v1::CreateSessionResponse left_response;
    v1::CreateSessionResponse right_response;
    grpc::Status left_status;
    grpc::Status right_status;
    std::thread thread([&] { left_status = wire_->Create(left, &left_response); });
    right_status = other.Create(right, &right_response);
    thread.join();
    if (same) {
      ASSERT_TRUE(left_status.ok() && right_status.ok());
      EXPECT_EQ(left_response.session().history(), right_response.session().history());
    } else {
      ASSERT_NE(left_status.ok(), right_status.ok());
      EXPECT_EQ(ErrorOf(left_status.ok() ? right_status : left_status).reason, "SESSION_EXISTS");
      EXPECT_EQ(wire_->Get(id).num_elements(), left_status.ok() ? 1000u : 999u);
    }
  }
}

TEST_F(ExactlyOnceTest, AccumulatedContributionsAreEachCountedOnce) {
  v1::CreateSessionRequest create = VectorSession("s", 2);
  create.mutable_config()->mutable_aggregation()->set_gradient_accumulation_steps(3);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  const auto part = [&](uint64_t sequence, float value, double loss) {
    v1::StepRequest request = StepOf("s", joined, sequence, 0, {value, -value});
    request.mutable_header()->add_losses(loss);
    return request;
  };
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(part(1, 3, 1), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  EXPECT_FALSE(response.replayed());
  EXPECT_FALSE(response.has_report());
  EXPECT_EQ(response.applied_version(), 1u);
  EXPECT_EQ(response.data_version(), 0u);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{0, 0}));
  const uint32_t pending = wire_->Checksum("s");
  ASSERT_TRUE(wire_->Step(part(1, 3, 1), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(ErrorOf(wire_->Step(part(1, 4, 1))).reason, "SEQUENCE_REUSED");
  EXPECT_EQ(wire_->Checksum("s"), pending);
  ASSERT_TRUE(wire_->Step(part(2, 6, 2)).ok());
  EXPECT_EQ(wire_->Checksum("s"), pending);  // an open round is no part of the state
  // A contribution that is refused in between is no part of the mean.
  ASSERT_TRUE(wire_->Step(part(3, std::numeric_limits<float>::infinity(), 9), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_REJECTED_NON_FINITE);
  ASSERT_TRUE(wire_->Step(part(4, 9, 6), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(response.report().contributors(), 3u);
  EXPECT_EQ(response.report().loss(), 3);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{-3, 3}));
  const uint32_t applied = wire_->Checksum("s");
  ASSERT_TRUE(wire_->Step(part(4, 9, 6), &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(wire_->Checksum("s"), applied);
  EXPECT_EQ(wire_->Get("s").version(), 1u);
}

TEST_F(ExactlyOnceTest, PendingWorkerAsksAgainAndIsToldOfTheStep) {
  v1::CreateSessionRequest create = VectorSession("s", 1);
  create.mutable_config()->mutable_aggregation()->set_gradient_accumulation_steps(2);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::StepRequest mine = StepOf("s", wire_->Join("s", "a"), 1, 0, {2});
  v1::StepRequest theirs = StepOf("s", wire_->Join("s", "b"), 1, 0, {4});
  theirs.mutable_header()->set_worker("b");
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(mine, &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  ASSERT_TRUE(wire_->Step(theirs, &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  ASSERT_TRUE(wire_->Step(mine, &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(response.applied_version(), 1u);
  EXPECT_EQ(response.report().contributors(), 2u);
  EXPECT_EQ(Floats(response.sections(0).data()), std::vector<float>{-1.5f});
}

}  // namespace
}  // namespace talweg
