// SPDX-License-Identifier: Apache-2.0
//
// Calls that wait for other workers, over real connections: what they hold meanwhile, and all the
// ways in which a wait may end.
#include "tests/conformance/waiting_test.h"

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Called;
using testing::ChunksOf;
using testing::ErrorOf;
using testing::Floats;
using testing::StepOf;
using testing::VectorSession;
using testing::WaitingTest;
using testing::WireClient;
using testing::WireStream;

TEST_F(WaitingTest, CallThatWaitsHoldsNoMemoryOfItsRequest) {
  Create("s");
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  EXPECT_TRUE(a.replies_wait());
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    v1::StepRequest request = Request(a, "a", 1, sequence);
    request.mutable_reply()->set_data(v1::REPLY_DATA_PARAMETERS);
    std::future<Called> waiting = Call(request);
    AwaitJudgement(request);
    EXPECT_EQ(server_->message_bytes(), 0u);
    v1::StepResponse response;
    ASSERT_TRUE(wire_->Step(Request(b, "b", 3, sequence), &response).ok());
    EXPECT_EQ(response.report().contributors(), 2u);
    EXPECT_EQ(response.report().total_weight(), 2);
    const Called called = waiting.get();
    ASSERT_TRUE(called.status.ok()) << called.status.error_message();
    EXPECT_EQ(called.response.applied_version(), sequence);
    EXPECT_EQ(Floats(called.response.sections(0).data()).back(),
              -1.0f * static_cast<float>(sequence));
  }
}

TEST_F(WaitingTest, ClientThatGoesWhileItWaitsIsForgottenAndItsRetryWaitsOn) {
  Create("s");
  const v1::JoinResponse a = wire_->Join("s", "a");
  const v1::JoinResponse b = wire_->Join("s", "b");
  const v1::StepRequest request = Request(a, "a", 1);
  grpc::ClientContext context;
  std::future<Called> gone = Call(request, &context);
  AwaitJudgement(request);
  context.TryCancel();
  EXPECT_EQ(gone.get().status.error_code(), grpc::StatusCode::CANCELLED);
  v1::StepRequest asking = request;
  asking.mutable_reply()->set_return_pending(true);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(asking, &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  EXPECT_TRUE(response.replayed());
  std::future<Called> retry = Call(request);
  ASSERT_TRUE(wire_->Step(Request(b, "b", 1), &response).ok());
  EXPECT_EQ(response.report().contributors(), 2u);
  const Called called = retry.get();
  ASSERT_TRUE(called.status.ok());
  EXPECT_EQ(called.response.verdict(), v1::VERDICT_APPLIED);
  EXPECT_TRUE(called.response.replayed());
}

TEST_F(WaitingTest, ServerThatStopsAndSessionThatGoesEndTheWait) {
  for (const bool deleted : {true, false}) {
    Create("s");
    const v1::JoinResponse a = wire_->Join("s", "a");
    const v1::JoinResponse b = wire_->Join("s", "b");
    wire_->Join("s", "c");
    const v1::StepRequest request = Request(a, "a", 1);
    std::future<Called> call = Call(request);
    AwaitJudgement(request);
    WireStream stream(wire_->training());
    const v1::StepRequest streamed = Request(b, "b", 1);
    ASSERT_TRUE(stream.WriteHeader(streamed));
    ASSERT_TRUE(stream.ReadGrant());
    for (const auto& chunk : ChunksOf(std::vector<float>(kElements, 1), 65536)) {
      ASSERT_TRUE(stream.Write(chunk));
    }
    ASSERT_TRUE(stream.WriteCommit());
    AwaitJudgement(streamed);
    v1::PullRequest pull;
    pull.set_session_id("s");
    pull.set_min_version(1);
    grpc::ClientContext pulling;
    const auto reader = wire_->training().Pull(&pulling, pull);
    if (deleted) {
      v1::DeleteSessionRequest deletion;
      deletion.set_session_id("s");
      v1::DeleteSessionResponse response;
      grpc::ClientContext context;
      ASSERT_TRUE(wire_->sessions().DeleteSession(&context, deletion, &response).ok());
    } else {
      server_->Refuse();
    }
    const std::string reason = deleted ? "SESSION_DELETED" : "DRAINING";
    EXPECT_EQ(ErrorOf(call.get().status).reason, reason);
    EXPECT_EQ(ErrorOf(stream.Finish()).reason, reason);
    v1::PullResponse message;
    EXPECT_FALSE(reader->Read(&message));
    const std::string pulled = ErrorOf(reader->Finish()).reason;
    EXPECT_TRUE(pulled == reason || (deleted && pulled == "SESSION_NOT_FOUND")) << pulled;
  }
}

// There is memory for one vector, and four vectors are to come.
TEST_F(WaitingTest, StreamsThatWaitPassTheirMemoryOn) {
  Start({.message_bytes = kElements * sizeof(float)});
  Create("s");
  static constexpr int kWorkers = 4;
  std::vector<std::future<Called>> calls;
  std::vector<v1::JoinResponse> joins;
  for (int index = 0; index < kWorkers; ++index) {
    joins.push_back(wire_->Join("s", std::string(1, static_cast<char>('a' + index))));
  }
  for (int index = 0; index < kWorkers; ++index) {
    calls.push_back(std::async(std::launch::async, [this, index, joined = joins[index]] {
      Called called;
      WireStream stream(wire_->training());
      const auto chunks = ChunksOf(std::vector<float>(kElements, static_cast<float>(index)), 65536);
      for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
        const v1::StepRequest request =
            Request(joined, std::string(1, static_cast<char>('a' + index)), 0, sequence);
        EXPECT_TRUE(stream.Step(request, chunks, &called.response));
        EXPECT_EQ(called.response.report().contributors(), kWorkers);
      }
      called.status = stream.Finish();
      return called;
    }));
  }
  for (auto& call : calls) {
    const Called called = call.get();
    EXPECT_TRUE(called.status.ok()) << called.status.error_message();
    EXPECT_EQ(called.response.applied_version(), 3u);
  }
  v1::PullRequest pull;
  pull.set_session_id("s");
  std::vector<float> values;
  ASSERT_TRUE(wire_->Pull(pull, &values).ok());
  EXPECT_EQ(values, std::vector<float>(kElements, -2.25f));
}

TEST_F(WaitingTest, PullWaitsForTheVersionItAsksFor) {
  Create("s", 10);
  const v1::JoinResponse a = wire_->Join("s", "a");
  v1::PullRequest pull;
  pull.set_session_id("s");
  pull.set_min_version(2);
  std::future<uint64_t> pulled = std::async(std::launch::async, [&] {
    std::vector<float> values;
    uint64_t version = 0;
    EXPECT_TRUE(wire_->Pull(pull, &values, &version).ok());
    EXPECT_EQ(values.size(), 10u);
    return version;
  });
  // A pull that gives up delays nobody.
  {
    grpc::ClientContext context;
    const auto reader = wire_->training().Pull(&context, pull);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) {
    ASSERT_TRUE(wire_->Step(Request(a, "a", 1, sequence, 10)).ok());
  }
  EXPECT_EQ(pulled.get(), 2u);
  pull.set_version(2);
  std::vector<float> values;
  EXPECT_EQ(ErrorOf(wire_->Pull(pull, &values)).field, "min_version");
}

TEST_F(WaitingTest, PullDuringAnOpenRoundGetsTheLastVisibleVersionAtOnce) {
  Create("s", 10);
  const v1::JoinResponse a = wire_->Join("s", "a");
  wire_->Join("s", "b");
  v1::StepRequest request = Request(a, "a", 1, 1, 10);
  request.mutable_reply()->set_return_pending(true);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.verdict(), v1::VERDICT_PENDING);
  v1::PullRequest pull;
  pull.set_session_id("s");
  std::vector<float> values;
  uint64_t version = 7;
  ASSERT_TRUE(wire_->Pull(pull, &values, &version).ok());
  EXPECT_EQ(version, 0u);
  EXPECT_EQ(values, std::vector<float>(10, 0));
}

// A gradient that was said to be pending may still wait to be folded when the next gradient comes
// in: as the session's queue is never empty here, it is folded only with the last one.
TEST_F(WaitingTest, PendingGradientsOfOneStreamAreAllCounted) {
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  create.mutable_config()->mutable_aggregation()->set_gradient_accumulation_steps(4);
  ASSERT_TRUE(wire_->Create(create).ok());
  const v1::JoinResponse a = wire_->Join("s", "a");
  std::atomic<bool> over{false};
  std::vector<std::thread> busy;
  for (int thread = 0; thread < 2; ++thread) {
    busy.emplace_back([&] {
      WireClient other(server_->address());
      while (!over) other.Get("s");
    });
  }
  WireStream stream(wire_->training());
  uint64_t sequence = 0;
  for (uint64_t version = 1; version <= 10; ++version) {
    for (int part = 1; part <= 4; ++part) {
      v1::StepRequest request = StepOf("s", a, ++sequence, version - 1, {});
      request.mutable_header()->set_worker("a");
      const std::vector<float> gradient(kElements, static_cast<float>(part));
      v1::StepResponse response;
      ASSERT_TRUE(stream.Step(request, ChunksOf(gradient, 65536), &response));
      ASSERT_EQ(response.verdict(), part < 4 ? v1::VERDICT_PENDING : v1::VERDICT_APPLIED);
      if (part < 4) continue;
      // Each version subtracts the rate, 0.5, times the mean, 2.5.
      const std::vector<float> values = Floats(response.sections(0).data());
      EXPECT_EQ(values, std::vector<float>(kElements, -1.25f * static_cast<float>(version)));
    }
  }
  over = true;
  for (std::thread& thread : busy) thread.join();
}

}  // namespace
}  // namespace talweg
