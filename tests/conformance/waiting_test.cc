// SPDX-License-Identifier: Apache-2.0
//
// Calls that wait for other workers, over real connections: what they hold meanwhile, and all the
// ways in which a wait may end.
#include <atomic>
#include <cmath>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ChunksOf;
using testing::ErrorOf;
using testing::Floats;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;
using testing::WireStream;

constexpr uint64_t kElements = 2 * 65536 + 3;
constexpr uint64_t kVectorBytes = kElements * sizeof(float);

// A call on its way, in a thread of the client.
struct Called {
  grpc::Status status;
  v1::StepResponse response;
};

class WaitingTest : public testing::ServedTest {
 protected:
  void Create(const std::string& id, uint64_t num_elements = kElements) {
    v1::CreateSessionRequest request = VectorSession(id, num_elements);
    request.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    const grpc::Status created = wire_->Create(request);
    ASSERT_TRUE(created.ok()) << created.error_message();
  }

  v1::StepRequest Request(const v1::JoinResponse& joined, const std::string& worker, float value,
                          uint64_t sequence = 1, uint64_t num_elements = kElements) {
    v1::StepRequest request =
        StepOf("s", joined, sequence, sequence - 1, std::vector<float>(num_elements, value));
    request.mutable_header()->set_worker(worker);
    request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    return request;
  }

  std::future<Called> Call(v1::StepRequest request, grpc::ClientContext* context = nullptr) {
    return std::async(std::launch::async, [this, request = std::move(request), context] {
      grpc::ClientContext own;
      Called called;
      called.status =
          wire_->training().Step(context == nullptr ? &own : context, request, &called.response);
      return called;
    });
  }

  // Returns when the server has judged `request`: a variant of it, which can be no contribution
  // itself, is told that the sequence was sent before.
  void AwaitJudgement(v1::StepRequest request) {
    request.mutable_header()->set_base_version(request.header().base_version() + 1000);
    std::string reason;
    while (reason != "SEQUENCE_REUSED") {
      reason = ErrorOf(wire_->Step(request)).reason;
      ASSERT_TRUE(reason == "SEQUENCE_REUSED" || reason == "VERSION_AHEAD") << reason;
    }
  }
};

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

// Memory for one vector, and four that are to come.
TEST_F(WaitingTest, StreamsThatWaitPassTheirMemoryOn) {
  Start({.message_bytes = kVectorBytes});
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
  // One that gives up delays nobody.
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

// The worker says nothing else: no heartbeat, no other call.
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

// What was said to be pending may still wait to be folded when the next gradient comes in: with the
// session's queue never empty it is folded only with the last.
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
      // Rate 0.5 times the mean, 2.5, a version.
      const std::vector<float> values = Floats(response.sections(0).data());
      EXPECT_EQ(values, std::vector<float>(kElements, -1.25f * static_cast<float>(version)));
    }
  }
  over = true;
  for (std::thread& thread : busy) thread.join();
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
  // Another weight is another contribution.
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
