// SPDX-License-Identifier: Apache-2.0
//
// The server as its operator meets it: health, reflection, addresses, signals, and readers that do
// not read.
#include <signal.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/session/run_series.h"
#include "core/session/session.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/conformance/serving_test.h"
#include "tests/support/health.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ErrorOf;
using testing::ServerProcess;
using testing::ServingTest;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;

// A stream that takes one message and then no more: it has a window of 64 KiB, and nobody reads it.
class Sleeper {
 public:
  Sleeper(const std::string& address, const std::string& session_id) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    stub_ = v1::SessionService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    v1::WatchSessionRequest request;
    request.set_session_id(session_id);
    request.set_follow(true);
    reader_ = stub_->WatchSession(&context_, request);
    v1::WatchSessionResponse message;
    EXPECT_TRUE(reader_->Read(&message));
    // Time for the second message and the third, which no longer fits.
    absl::SleepFor(absl::Milliseconds(200));
  }
  grpc::Status ReadOn() {
    v1::WatchSessionResponse message;
    while (reader_->Read(&message)) continue;
    return reader_->Finish();
  }

 private:
  std::unique_ptr<v1::SessionService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchSessionResponse>> reader_;
};

// 172 KiB of records of steps.
void TakeSteps(WireClient& wire, const std::string& session_id, uint64_t num_elements) {
  const v1::JoinResponse joined = wire.Join(session_id);
  for (uint64_t version = 0; version < 2000; ++version) {
    v1::StepRequest step =
        StepOf(session_id, joined, version + 1, version, std::vector<float>(num_elements, 1));
    step.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
    ASSERT_TRUE(wire.Step(step).ok());
  }
}

TEST_F(ServingTest, AWatcherThatDoesNotReadDoesNotHoldUpTheEndOfTheServer) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
  TakeSteps(*wire_, "s", 1);
  Sleeper sleeper(server_->address(), "s");
  const absl::Time stop = absl::Now();
  server_->Stop(absl::Seconds(30));
  EXPECT_LT(absl::Now() - stop, absl::Seconds(8));
  EXPECT_FALSE(sleeper.ReadOn().ok());
}

TEST_F(ServingTest, AWatcherThatDoesNotReadHoldsNoMemoryOfADeletedSession) {
  constexpr uint64_t kElements = 16384;
  const uint64_t session_bytes =
      kElements * 12 + core::RunSeries::kBytes + core::AggregationConfig().RecordBytes();
  server_ = *server::Server::Start(
      {.address = "127.0.0.1:0", .num_threads = 2, .memory_bytes = session_bytes * 5 / 2});
  WireClient wire(server_->address());
  ASSERT_TRUE(wire.Create(VectorSession("first", kElements)).ok());
  TakeSteps(wire, "first", kElements);
  Sleeper sleeper(server_->address(), "first");
  v1::DeleteSessionRequest request;
  v1::DeleteSessionResponse response;
  request.set_session_id("first");
  grpc::ClientContext context;
  ASSERT_TRUE(wire.sessions().DeleteSession(&context, request, &response).ok());
  // If the first session were still held, there would be room for one more session, not for two.
  EXPECT_TRUE(wire.Create(VectorSession("second", kElements)).ok());
  EXPECT_TRUE(wire.Create(VectorSession("third", kElements)).ok());
  EXPECT_EQ(ErrorOf(sleeper.ReadOn()).reason, "SESSION_DELETED");
}

TEST_F(ServingTest, HealthTellsLiveAndReadyApart) {
  const auto health = grpc::health::v1::Health::NewStub(wire_->channel());
  const auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    grpc::health::v1::HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status = health->Check(&context, request, &response);
    return status.ok() ? response.status() : -static_cast<int>(status.error_code());
  };
  constexpr int kServing = 1;
  constexpr int kNotServing = 2;
  EXPECT_EQ(check("live"), kServing);
  EXPECT_EQ(check("ready"), kServing);
  EXPECT_EQ(check("nonsense"), -static_cast<int>(grpc::StatusCode::NOT_FOUND));
  server_->NotReady();
  EXPECT_EQ(check("live"), kServing);
  EXPECT_EQ(check("ready"), kNotServing);
  // A server that is not ready does not refuse yet: calls that come are still served.
  EXPECT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
}

// Reflection is called by its wire format: field 7 of the request lists the services.
TEST_F(ServingTest, ReflectionNamesTheServices) {
  std::string response;
  const std::string list_services("\x3a\x01*", 3);
  ASSERT_TRUE(wire_
                  ->RawCall("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                            list_services, &response)
                  .ok());
  EXPECT_NE(response.find("talweg.v1.SessionService"), std::string::npos);
  EXPECT_NE(response.find("talweg.v1.TrainingService"), std::string::npos);
}

TEST(ServerStartTest, AddressBeyondLoopbackNeedsTheFlag) {
  EXPECT_FALSE(server::Server::Start({.address = "0.0.0.0:0"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "127.example.com:0"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "nonsense"}).ok());
  EXPECT_FALSE(server::Server::Start({.address = "127.0.0.1:70000"}).ok());
  EXPECT_TRUE(server::Server::Start({.address = "0.0.0.0:0", .insecure = true}).ok());
}

TEST(ServerStartTest, SecondServerOnThePortIsRefused) {
  const auto first = server::Server::Start({.address = "127.0.0.1:0"});
  ASSERT_TRUE(first.ok());
  const absl::Status second = server::Server::Start({.address = (*first)->address()}).status();
  EXPECT_EQ(second.message(), "cannot listen on " + (*first)->address() +
                                  ": address already in use, perhaps by another server; "
                                  "--address=127.0.0.1:0 takes a free port");
}

TEST(ServerStartTest, AnAddressThatCannotBeHadSaysWhy) {
  // The address is of TEST-NET-1, so it belongs to no machine.
  const absl::Status status =
      server::Server::Start({.address = "192.0.2.1:0", .insecure = true}).status();
  EXPECT_EQ(status.message(), "cannot listen on 192.0.2.1:0: Cannot assign requested address");
}

// The only ends that a stopping server gives a call, all of which the client library retries:
// refused or unreachable, or, if the machine was too busy to refuse it in time, cut by gRPC.
bool IsRetried(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

TEST(ServerProcessTest, SigtermUnderLoadFinishesWhatIsUnderWay) {
  std::atomic<int> finished{0};  // calls that began before a signal and were answered after it
  for (int round = 0; round < 3; ++round) {
    ServerProcess process({"--log_format=json"});
    constexpr int kWorkers = 4;
    std::atomic<uint64_t> total{0};
    std::atomic<bool> signalled{false};
    std::vector<std::string> problems(kWorkers);
    std::vector<std::thread> threads;
    for (int worker = 0; worker < kWorkers; ++worker) {
      threads.emplace_back([&, worker] {
        WireClient wire(process.address());
        const std::string id = "s" + std::to_string(worker);
        if (!wire.Create(VectorSession(id, 100000, "adam")).ok()) {
          problems[worker] = "create";
          return;
        }
        const v1::JoinResponse joined = wire.Join(id);
        const std::vector<float> gradient(100000, 0.5f);
        for (uint64_t version = 0;; ++version) {
          v1::StepResponse response;
          const bool early = !signalled;
          const grpc::Status status =
              wire.Step(StepOf(id, joined, version + 1, version, gradient), &response);
          if (!status.ok()) {
            if (!IsRetried(status)) {
              problems[worker] = std::to_string(status.error_code()) + status.error_message();
            }
            return;
          }
          if (response.applied_version() != version + 1) {
            problems[worker] = "answered version " + std::to_string(response.applied_version());
            return;
          }
          ++total;
          if (early && signalled) ++finished;
        }
      });
    }
    while (total < 100) std::this_thread::yield();
    process.Signal(SIGTERM);
    signalled = true;
    EXPECT_EQ(process.Wait(), 0);
    for (std::thread& thread : threads) thread.join();
    for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  }
  EXPECT_GT(finished, 0);
}

}  // namespace
}  // namespace talweg
