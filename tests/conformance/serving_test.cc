// SPDX-License-Identifier: Apache-2.0
//
// The server as its users and operators meet it: layouts, values, updates, health, signals.
#include <signal.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "absl/time/clock.h"
#include "core/optimizers/optimizer_testing.h"
#include "core/session/run_series.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/support/health.grpc.pb.h"
#include "tests/support/server_process.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::Floats;
using testing::ServerProcess;
using testing::StepOf;
using testing::VectorSession;
using testing::WireClient;

class ServingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = server::Server::Start({.address = "127.0.0.1:0", .num_threads = 2});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    wire_ = std::make_unique<WireClient>(server_->address());
  }

  std::vector<float> PullAll(const std::string& session_id, uint64_t* version = nullptr) {
    v1::PullRequest request;
    request.set_session_id(session_id);
    std::vector<float> values;
    const grpc::Status status = wire_->Pull(request, &values, version);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return values;
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<WireClient> wire_;
};

TEST_F(ServingTest, StepsOverTheWireGiveTheBitsOfTheCore) {
  constexpr uint64_t kElements = 70001;
  ASSERT_TRUE(wire_->Create(VectorSession("s", kElements, "adam")).ok());
  v1::JoinResponse joined = wire_->Join("s");
  const core::Method& method = *core::FindMethod("adam");
  const auto config = method.default_config();
  const auto optimizer = method.create(*config, core::SpaceOf(kElements));
  core::AlignedBuffer gradient(kElements);
  core::AlignedBuffer parameters(kElements);
  v1::StepResponse response;
  for (uint64_t version = 0; version < 5; ++version) {
    for (uint64_t index = 0; index < kElements; ++index) {
      gradient.data()[index] =
          static_cast<float>(static_cast<int64_t>(index * 2654435761 % 1001) - 500) /
          static_cast<float>(1 + version);
    }
    v1::StepRequest request =
        StepOf("s", joined, version + 1, version, {gradient.span().begin(), gradient.span().end()});
    ASSERT_TRUE(wire_->Step(request, &response).ok());
    ASSERT_EQ(response.verdict(), v1::VERDICT_APPLIED);
    ASSERT_EQ(response.report().learning_rate(), 0.5);
    optimizer->BeginStep(version + 1);
    optimizer->Apply({0.5, 0}, {0, kElements}, gradient.span(), parameters.span(),
                     parameters.span());
  }
  const std::vector<float> expected(parameters.span().begin(), parameters.span().end());
  EXPECT_EQ(Floats(response.sections(0).data()), expected);
  uint64_t version = 0;
  EXPECT_EQ(PullAll("s", &version), expected);
  EXPECT_EQ(version, 5u);
}

TEST_F(ServingTest, UpdateIsTheDifferenceOfTwoVersions) {
  v1::CreateSessionRequest create = VectorSession("s", 3);
  v1::Section& initial = *create.mutable_initial_values()->mutable_uploaded();
  initial.set_kind(v1::SECTION_KIND_PARAMETERS);
  initial.set_data(Bytes({1, -2, 0.5f}));
  ASSERT_TRUE(wire_->Create(create).ok());
  EXPECT_EQ(PullAll("s"), (std::vector<float>{1, -2, 0.5f}));
  const v1::JoinResponse joined = wire_->Join("s");
  v1::StepRequest request = StepOf("s", joined, 1, 0, {2, 4, -8});
  request.mutable_reply()->set_data(v1::REPLY_DATA_UPDATE);
  v1::StepResponse response;
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.sections(0).kind(), v1::SECTION_KIND_UPDATE);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{-1, -2, 4}));
  EXPECT_EQ(response.report().update_norm(), std::sqrt(21.0));
  // A replay took no step: the parameters, named as such.
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_TRUE(response.replayed());
  EXPECT_EQ(response.sections(0).kind(), v1::SECTION_KIND_PARAMETERS);
  EXPECT_EQ(Floats(response.sections(0).data()), (std::vector<float>{0, -4, 4.5f}));
  request = StepOf("s", joined, 2, 1, {0, 0, 0});
  request.mutable_reply()->set_data(v1::REPLY_DATA_NONE);
  ASSERT_TRUE(wire_->Step(request, &response).ok());
  EXPECT_EQ(response.sections_size(), 0);
  EXPECT_EQ(response.data_version(), 2u);
}

TEST_F(ServingTest, LayoutOfTenThousandTensorsAndOfOneScalarWork) {
  v1::CreateSessionRequest create = VectorSession("many", 3);
  v1::Layout& layout = *create.mutable_config()->mutable_layout();
  layout.clear_tensors();
  for (int index = 0; index < 10000; ++index) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name("block." + std::to_string(index) + ".weight");
    if (index % 3 != 0) tensor.add_shape(static_cast<uint64_t>(index % 5 + 1));
  }
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  v1::CreateSessionResponse response;
  ASSERT_TRUE(wire_->Create(create, &response).ok());
  EXPECT_EQ(response.session().config().layout().tensors_size(), 10000);
  const uint64_t num_elements = response.session().num_elements();
  EXPECT_EQ(PullAll("many").size(), num_elements);
  v1::StepResponse step;
  ASSERT_TRUE(
      wire_
          ->Step(StepOf("many", wire_->Join("many"), 1, 0, std::vector<float>(num_elements, 1)),
                 &step)
          .ok());
  EXPECT_EQ(step.verdict(), v1::VERDICT_APPLIED);

  create = VectorSession("scalar", 1);
  create.mutable_config()->mutable_layout()->mutable_tensors(0)->clear_shape();
  ASSERT_TRUE(wire_->Create(create).ok());
  ASSERT_TRUE(wire_->Step(StepOf("scalar", wire_->Join("scalar"), 1, 0, {3}), &step).ok());
  EXPECT_EQ(Floats(step.sections(0).data()), (std::vector<float>{-1.5f}));
}

TEST_F(ServingTest, ResolvedConfigurationSpellsOutEveryDefault) {
  v1::CreateSessionResponse response;
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1000, "adam"), &response).ok());
  const v1::Session& session = response.session();
  const v1::Adam& adam = session.config().optimizer().adam();
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8);
  EXPECT_EQ(adam.dialect(), v1::DIALECT_TORCH);
  EXPECT_TRUE(adam.has_amsgrad());
  EXPECT_TRUE(session.config().schedule().has_constant());
  EXPECT_TRUE(session.config().schedule().has_warmup_steps());
  EXPECT_EQ(session.config().aggregation().lease_seconds(), 30u);
  // m, v, two versions, one gradient; the layout; the records of steps.
  EXPECT_EQ(session.memory_bytes(), 20000u + 169 + core::RunSeries::kBytes);
  EXPECT_NE(session.history(), 0u);
  EXPECT_EQ(session.config_version(), 1u);
  EXPECT_GT(session.create_time().seconds(), 1'600'000'000);
}

TEST_F(ServingTest, UpdateHoldsFromTheNextVersion) {
  ASSERT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
  const v1::JoinResponse joined = wire_->Join("s");
  v1::UpdateSessionRequest request;
  v1::UpdateSessionResponse updated;
  request.set_session_id("s");
  request.mutable_update_mask()->add_paths("schedule.learning_rate");
  request.mutable_config()->mutable_schedule()->set_learning_rate(2);
  grpc::ClientContext context;
  ASSERT_TRUE(wire_->sessions().UpdateSession(&context, request, &updated).ok());
  EXPECT_EQ(updated.session().config_version(), 2u);
  v1::StepResponse step;
  ASSERT_TRUE(wire_->Step(StepOf("s", joined, 1, 0, {1}), &step).ok());
  EXPECT_EQ(step.report().learning_rate(), 2);
  EXPECT_EQ(Floats(step.sections(0).data()), (std::vector<float>{-2}));
}

TEST_F(ServingTest, PagesListEverySessionOnce) {
  for (int index = 0; index < 25; ++index) {
    ASSERT_TRUE(wire_->Create(VectorSession("s" + std::to_string(index), 1)).ok());
  }
  std::vector<std::string> ids;
  v1::ListSessionsRequest request;
  request.set_page_size(7);
  int pages = 0;
  do {
    v1::ListSessionsResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(wire_->sessions().ListSessions(&context, request, &response).ok());
    EXPECT_LE(response.sessions_size(), 7);
    for (const v1::SessionSummary& session : response.sessions()) {
      ids.push_back(session.session_id());
      EXPECT_EQ(session.optimizer(), "gradient_descent");
    }
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 4);
  EXPECT_EQ(ids.size(), 25u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 25u);
}

TEST_F(ServingTest, PullGoesOnWhereItBroke) {
  constexpr uint64_t kElements = 3 * (1 << 18) + 11;
  v1::CreateSessionRequest create = VectorSession("s", kElements);
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::vector<float> whole = PullAll("s");
  ASSERT_EQ(whole.size(), kElements);
  v1::PullRequest request;
  request.set_session_id("s");
  request.set_version(0);
  request.set_begin_element(kElements - 300000);
  std::vector<float> rest;
  ASSERT_TRUE(wire_->Pull(request, &rest).ok());
  EXPECT_EQ(rest, std::vector<float>(whole.end() - 300000, whole.end()));
}

TEST_F(ServingTest, SeededValuesAreTheSameInEverySession) {
  v1::CreateSessionRequest create = VectorSession("a", 5000);
  create.mutable_initial_values()->mutable_seeded()->set_seed(42);
  create.mutable_initial_values()->mutable_seeded()->mutable_rules(0)->mutable_normal();
  ASSERT_TRUE(wire_->Create(create).ok());
  create.set_session_id("b");
  ASSERT_TRUE(wire_->Create(create).ok());
  create.set_session_id("c");
  create.mutable_initial_values()->mutable_seeded()->set_seed(43);
  ASSERT_TRUE(wire_->Create(create).ok());
  EXPECT_EQ(PullAll("a"), PullAll("b"));
  EXPECT_NE(PullAll("a"), PullAll("c"));
}

// A stream that takes one message and then no more: a window of 64 KiB, and nobody who reads.
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
  constexpr uint64_t kSessionBytes = kElements * 12 + core::RunSeries::kBytes;
  server_ = *server::Server::Start(
      {.address = "127.0.0.1:0", .num_threads = 2, .memory_bytes = kSessionBytes * 5 / 2});
  WireClient wire(server_->address());
  ASSERT_TRUE(wire.Create(VectorSession("first", kElements)).ok());
  TakeSteps(wire, "first", kElements);
  Sleeper sleeper(server_->address(), "first");
  v1::DeleteSessionRequest request;
  v1::DeleteSessionResponse response;
  request.set_session_id("first");
  grpc::ClientContext context;
  ASSERT_TRUE(wire.sessions().DeleteSession(&context, request, &response).ok());
  // Where the first one were still held, there would be room for one more, not for two.
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
  // Not ready is not refusing: what comes is still served.
  EXPECT_TRUE(wire_->Create(VectorSession("s", 1)).ok());
}

// By its wire format: field 7 of the request lists the services.
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
  EXPECT_FALSE(server::Server::Start({.address = (*first)->address()}).ok());
}

// The only ends that a stopping server gives a call, all of which the client library retries:
// refused or unreachable, or, where the machine was too busy to refuse it in time, cut by gRPC.
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
