// SPDX-License-Identifier: Apache-2.0
//
// Against a gRPC server in this process that answers what the test says.
#include "client/cpp/talweg/grpc_transport.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "talweg/v1/session_service.grpc.pb.h"
#include "talweg/v1/training_service.grpc.pb.h"

namespace talweg {
namespace {

constexpr uint64_t kMaxMessageBytes = uint64_t{65} << 20;

class SessionServiceStub final : public v1::SessionService::Service {
 public:
  std::atomic<bool> replies_wait{false};
  std::mutex mutex;
  std::vector<std::string> heartbeat_peers;

 private:
  grpc::Status GetSession(grpc::ServerContext*, const v1::GetSessionRequest*,
                          v1::GetSessionResponse*) override {
    google::rpc::ErrorInfo info;
    info.set_domain("talweg");
    info.set_reason("SESSION_NOT_FOUND");
    google::rpc::BadRequest bad_request;
    bad_request.add_field_violations()->set_field("session_id");
    google::rpc::Status details;
    details.set_code(grpc::StatusCode::NOT_FOUND);
    details.add_details()->PackFrom(info);
    details.add_details()->PackFrom(bad_request);
    return {grpc::StatusCode::NOT_FOUND, "no such session", details.SerializeAsString()};
  }
  grpc::Status Join(grpc::ServerContext*, const v1::JoinRequest*, v1::JoinResponse* r) override {
    r->set_history(1);
    r->set_incarnation(1);
    r->set_lease_seconds(replies_wait ? 1 : 30);
    r->set_replies_wait(replies_wait);
    return grpc::Status::OK;
  }
  // Three steps, one per message, then silence if the call follows.
  grpc::Status WatchSession(grpc::ServerContext* context, const v1::WatchSessionRequest* request,
                            grpc::ServerWriter<v1::WatchSessionResponse>* writer) override {
    for (uint64_t version = 1; version <= 3; ++version) {
      v1::WatchSessionResponse message;
      message.add_records()->set_version(version);
      writer->Write(message);
    }
    while (request->follow() && !context->IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest*,
                         v1::HeartbeatResponse* response) override {
    const std::lock_guard<std::mutex> lock(mutex);
    heartbeat_peers.push_back(context->peer());
    response->set_lease_seconds(1);
    return grpc::Status::OK;
  }
  grpc::Status ListVersionRecords(grpc::ServerContext*, const v1::ListVersionRecordsRequest*,
                                  v1::ListVersionRecordsResponse* response) override {
    response->add_records()->set_version(9);
    return grpc::Status::OK;
  }
  // As a server that stops does to calls under way.
  grpc::Status Leave(grpc::ServerContext*, const v1::LeaveRequest*, v1::LeaveResponse*) override {
    return grpc::Status::CANCELLED;
  }
};

constexpr size_t kStreamed = 400000;  // elements of a streamed contribution

// Echoes the gradient as parameters; pulls a ramp of three elements, an element a message.
class TrainingServiceStub final : public v1::TrainingService::Service {
 public:
  std::atomic<int> num_steps{0};
  std::atomic<int> num_calls{0};
  std::string step_peer;  // of the last Step
  // Asked, for the so-manieth call, until a Step is answered.
  std::function<bool(int call)> round_closes = [](int) { return true; };

 private:
  grpc::Status StreamStep(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::StreamStepResponse, v1::StreamStepRequest>* stream) override {
    std::string data;
    v1::StreamStepRequest frame;
    while (stream->Read(&frame)) {
      v1::StreamStepResponse answer;
      if (frame.has_header()) {
        const int num_losses = frame.header().header().losses_size();
        if (num_losses == 2) return grpc::Status::OK;                  // ends as no stream should
        if (num_losses == 3) absl::SleepFor(absl::Milliseconds(900));  // memory is scarce
        answer.mutable_grant()->set_num_elements(kStreamed);
        stream->Write(answer);
        if (num_steps++ == 0 && num_losses == 1) {
          while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
          return grpc::Status::CANCELLED;
        }
      } else if (frame.has_chunk()) {
        data += frame.chunk().section().data();
      } else {
        v1::Section& section = *answer.mutable_chunk()->mutable_section();
        section.set_kind(v1::SECTION_KIND_PARAMETERS);
        section.set_dtype(v1::DTYPE_FLOAT32);
        section.set_data(data);
        stream->Write(answer);
        answer.mutable_trailer()->mutable_response()->set_verdict(v1::VERDICT_APPLIED);
        stream->Write(answer);
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status Step(grpc::ServerContext* context, const v1::StepRequest* request,
                    v1::StepResponse* response) override {
    step_peer = context->peer();
    const int call = ++num_calls;
    while (!round_closes(call)) {
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
      absl::SleepFor(absl::Milliseconds(1));
    }
    if (num_steps++ == 0 && request->header().losses_size() > 0) {
      // The first attempt hangs until its deadline.
      while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
      return grpc::Status::CANCELLED;
    }
    response->set_verdict(v1::VERDICT_APPLIED);
    v1::Section& section = *response->add_sections();
    section.set_kind(v1::SECTION_KIND_PARAMETERS);
    section.set_data(request->sections(0).data());
    return grpc::Status::OK;
  }
  grpc::Status Pull(grpc::ServerContext*, const v1::PullRequest*,
                    grpc::ServerWriter<v1::PullResponse>* writer) override {
    for (uint64_t i = 0; i < 3; ++i) {
      v1::PullResponse message;
      message.set_history(1);
      message.set_version(4);
      message.set_num_elements(3);
      message.mutable_section()->set_begin_element(i);
      const float value = static_cast<float>(i);
      message.mutable_section()->set_data(&value, sizeof(value));
      writer->Write(message);
    }
    return grpc::Status::OK;
  }
};

class GrpcTransportTest : public ::testing::Test {
 protected:
  GrpcTransportTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
    builder.SetMaxSendMessageSize(static_cast<int>(kMaxMessageBytes));
    builder.RegisterService(&sessions_);
    builder.RegisterService(&training_);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }

  SessionServiceStub sessions_;
  TrainingServiceStub training_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

TEST_F(GrpcTransportTest, ErrorsKeepReasonAndField) {
  const Client client = Client::Connect(address_).value();
  const absl::Status status = client.GetSession("a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "SESSION_NOT_FOUND");
  EXPECT_EQ(FieldOf(status), "session_id");
}

TEST_F(GrpcTransportTest, MessagesOfSixtyFourMebibytesPass) {
  ClientOptions options;
  options.stream_threshold_bytes = uint64_t{64} << 20;
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  const std::vector<float> gradient(size_t{16} << 20, 1.5f);
  std::vector<float> parameters(gradient.size());
  const auto result = session.Step(gradient, absl::MakeSpan(parameters));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(parameters, gradient);
}

TEST_F(GrpcTransportTest, StreamsCarryChunksBothWays) {
  ClientOptions options;
  options.stream_threshold_bytes = 1;
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  std::vector<float> gradient(kStreamed);
  for (size_t i = 0; i < kStreamed; ++i) gradient[i] = static_cast<float>(i);
  std::vector<float> parameters(kStreamed);
  const auto result = session.Step(gradient, absl::MakeSpan(parameters));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(parameters, gradient);
  EXPECT_EQ(result->num_attempts, 1);
}

// Streams a step whose attempts last 300 ms to a server that does what so many losses ask for.
void ExpectStreamedIn(int num_attempts, const std::string& address, std::vector<double> losses) {
  ClientOptions options;
  options.stream_threshold_bytes = 1;
  options.retry.attempt_timeout = absl::Milliseconds(300);
  const Client client = Client::Connect(address, options).value();
  Session session = client.Join("a", "w").value();
  const std::vector<float> gradient(kStreamed, 2.0f);
  std::vector<float> parameters(kStreamed);
  const auto result = session.Step(gradient, absl::MakeSpan(parameters), losses);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_attempts, num_attempts);
  EXPECT_EQ(parameters, gradient);
}

TEST(ConnectGrpcTest, SaysWhyNoConnectionCameToStand) {
  const auto told = [](absl::string_view address) {
    const auto transport = ConnectGrpc(address, kMaxMessageBytes, absl::Seconds(2));
    EXPECT_TRUE(absl::IsUnavailable(transport.status())) << transport.status();
    return std::string(transport.status().message());
  };
  EXPECT_THAT(told("127.0.0.1:1"),
              ::testing::StartsWith("no talweg-server answers at 127.0.0.1:1 within 2 s: nothing "
                                    "listens at this address: "));
  // By RFC 7686 a resolver refuses these names itself, so the test asks no other machine.
  EXPECT_THAT(told("nowhere.onion:1"),
              ::testing::StartsWith("no talweg-server answers at nowhere.onion:1 within 2 s: the "
                                    "name of this host is not known: "));
}

TEST_F(GrpcTransportTest, StreamThatHangsIsBegunAgain) { ExpectStreamedIn(2, address_, {1.0}); }

// ContributionStream looks so before each contribution.
TEST_F(GrpcTransportTest, LookAtAQuietStreamDoesNotWait) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  const std::unique_ptr<StepStream> stream = transport->OpenStepStream();
  EXPECT_EQ(stream->Next(absl::Milliseconds(50)).kind, StreamEvent::Kind::kTimeout);
  // The median tells: on a busy machine some are slow, and some waits end at once by chance.
  std::vector<absl::Duration> looks;
  while (looks.size() < 201) {
    const absl::Time before = absl::Now();
    EXPECT_EQ(stream->Next(absl::ZeroDuration()).kind, StreamEvent::Kind::kTimeout);
    looks.push_back(absl::Now() - before);
  }
  std::nth_element(looks.begin(), looks.begin() + 100, looks.end());
  EXPECT_LT(looks[100], absl::Microseconds(500));
}

// A stream that stands in the server's line for memory does not leave it to stand at its end again.
TEST_F(GrpcTransportTest, GrantIsWaitedForLongerThanAnAttempt) {
  ExpectStreamedIn(1, address_, {1.0, 1.0, 1.0});
}

TEST_F(GrpcTransportTest, StreamThatTheServerClosesIsUnavailable) {
  ClientOptions options;
  options.stream_threshold_bytes = 1;
  options.retry.overall_timeout = absl::Milliseconds(200);
  options.retry.initial_backoff = absl::Seconds(1);
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  const std::vector<float> gradient(kStreamed, 2.0f);
  const absl::Status closed = session.Step(gradient, {}, {1.0, 1.0}).status();
  EXPECT_TRUE(absl::IsUnavailable(closed)) << closed;
}

TEST_F(GrpcTransportTest, AttemptThatHangsIsMadeAgain) {
  ClientOptions options;
  options.retry.attempt_timeout = absl::Milliseconds(200);
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  std::vector<float> parameters(1);
  const auto result = session.Step({2.0f}, absl::MakeSpan(parameters), {1.0});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_attempts, 2);
  EXPECT_EQ(parameters[0], 2.0f);
}

TEST_F(GrpcTransportTest, HeartbeatsGoOnOverAnotherConnectionWhileAStepWaits) {
  sessions_.replies_wait = true;
  training_.round_closes = [this](int) {
    const std::lock_guard<std::mutex> lock(sessions_.mutex);
    return sessions_.heartbeat_peers.size() >= 2;
  };
  const Client client = Client::Connect(address_).value();
  Session session = client.Join("a", "w").value();
  std::vector<float> parameters(1);
  const auto result = session.Step({2.0f}, absl::MakeSpan(parameters));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->num_attempts, 1);
  EXPECT_EQ(parameters[0], 2.0f);
  const std::lock_guard<std::mutex> lock(sessions_.mutex);
  EXPECT_THAT(sessions_.heartbeat_peers, ::testing::Each(::testing::Ne(training_.step_peer)));
}

TEST_F(GrpcTransportTest, StepThatWaitsIsSentAgainAfterAWhile) {
  sessions_.replies_wait = true;
  training_.round_closes = [](int call) { return call >= 2; };
  ClientOptions options;
  options.retry.attempt_timeout = absl::Milliseconds(50);
  options.retry.round_attempt_timeout = absl::Milliseconds(200);
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  std::vector<float> parameters(1);
  const auto result = session.Step({2.0f}, absl::MakeSpan(parameters));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GE(result->num_attempts, 2);
  EXPECT_EQ(parameters[0], 2.0f);
}

TEST_F(GrpcTransportTest, StepThatWaitsEndsWhenItIsToldTo) {
  sessions_.replies_wait = true;
  const auto stop = std::make_shared<std::atomic<bool>>(false);
  training_.round_closes = [stop](int) { return !(*stop = true); };
  ClientOptions options;
  options.retry.stop = [stop] { return stop->load(); };
  const Client client = Client::Connect(address_, options).value();
  Session session = client.Join("a", "w").value();
  const absl::Status stopped = session.Step({2.0f}, {}).status();
  EXPECT_TRUE(absl::IsCancelled(stopped)) << stopped;
}

TEST_F(GrpcTransportTest, VersionRecordsCome) {
  const Client client = Client::Connect(address_).value();
  EXPECT_EQ(client.VersionRecords("a")->at(0).version(), 9u);
}

TEST_F(GrpcTransportTest, CallThatTheServerCancelsIsUnavailable) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  v1::LeaveResponse response;
  const absl::Status status = transport->Call(v1::LeaveRequest(), response, absl::Seconds(10));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST_F(GrpcTransportTest, PullTakesEveryMessage) {
  const Client client = Client::Connect(address_).value();
  std::vector<float> parameters(3);
  const auto pulled = client.Pull("a", absl::MakeSpan(parameters));
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(pulled->version, 4u);
  EXPECT_THAT(parameters, ::testing::ElementsAre(0, 1, 2));
}

TEST_F(GrpcTransportTest, AnErrorOfTheTakerEndsThePull) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  int num_messages = 0;
  const absl::Status status = transport->Pull(
      v1::PullRequest(),
      [&](const v1::PullResponse&) {
        ++num_messages;
        return absl::InternalError("enough");
      },
      [] { return absl::OkStatus(); }, absl::Seconds(10));
  EXPECT_EQ(status, absl::InternalError("enough"));
  EXPECT_EQ(num_messages, 1);
}

TEST_F(GrpcTransportTest, WatchTakesEveryMessageAndLooksAboutInSilence) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  std::vector<uint64_t> versions;
  int num_idles = 0;
  const auto take = [&](const v1::WatchSessionResponse& message) {
    versions.push_back(message.records(0).version());
    return absl::OkStatus();
  };
  const auto idle = [&] {
    return ++num_idles < 3 ? absl::OkStatus() : absl::CancelledError("enough");
  };
  v1::WatchSessionRequest request;
  EXPECT_TRUE(transport->Watch(request, take, idle, absl::Seconds(10)).ok());
  EXPECT_EQ(versions, (std::vector<uint64_t>{1, 2, 3}));
  request.set_follow(true);
  num_idles = 0;
  const absl::Status ended = transport->Watch(request, take, idle, absl::InfiniteDuration());
  EXPECT_EQ(ended.message(), "enough");
  EXPECT_EQ(num_idles, 3);
  EXPECT_EQ(versions.size(), 6u);
}

TEST_F(GrpcTransportTest, AnErrorOfTheTakerEndsTheWatch) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  v1::WatchSessionRequest request;
  request.set_follow(true);
  const absl::Status ended = transport->Watch(
      request, [](const v1::WatchSessionResponse&) { return absl::InternalError("mine"); },
      [] { return absl::OkStatus(); }, absl::InfiniteDuration());
  EXPECT_EQ(ended.message(), "mine");
}

TEST_F(GrpcTransportTest, NobodyListeningIsUnavailableAndNamesTheAddress) {
  server_->Shutdown();
  ClientOptions options;
  options.connect_timeout = absl::Milliseconds(100);
  const absl::Status status = Client::Connect(address_, options).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(address_));
}

TEST_F(GrpcTransportTest, TheWaitForAServerIsToldAndCanBeStopped) {
  server_->Shutdown();
  ClientOptions options;
  options.connect_timeout = absl::Milliseconds(450);
  std::vector<absl::Duration> waits;
  options.connecting = [&](absl::Duration waited) { waits.push_back(waited); };
  const absl::Status missing = Client::Connect(address_, options).status();
  EXPECT_THAT(std::string(missing.message()), ::testing::HasSubstr("within 450 ms"));
  EXPECT_GE(waits.size(), 3u);
  EXPECT_TRUE(std::is_sorted(waits.begin(), waits.end()));
  options.connect_timeout = absl::Hours(1);
  options.retry.stop = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(Client::Connect(address_, options).status()));
}

TEST_F(GrpcTransportTest, ReconnectedAndClonedTransportsReachTheServer) {
  const auto transport = ConnectGrpc(address_, kMaxMessageBytes, absl::Seconds(10)).value();
  transport->Reconnect();
  v1::JoinResponse response;
  EXPECT_TRUE(transport->Call(v1::JoinRequest(), response, absl::Seconds(10)).ok());
  EXPECT_TRUE(transport->Clone()->Call(v1::JoinRequest(), response, absl::Seconds(10)).ok());
}

}  // namespace
}  // namespace talweg
