// SPDX-License-Identifier: Apache-2.0
//
// The C++ client's streams over real connections, which break anywhere: the bits are those of unary
// steps, and each contribution is one step.
#include <vector>

#include "client/cpp/talweg/client.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/support/proxy.h"

namespace talweg {
namespace {

using testing::Proxy;

constexpr uint64_t kElements = uint64_t{2} << 20;
constexpr int64_t kModelBytes = 4 * kElements;

class ClientStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = server::Server::Start({.address = "127.0.0.1:0", .num_threads = 2});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    client_ = std::make_unique<Client>(Client::Connect(server_->address()).value());
    const int port = std::stoi(server_->address().substr(server_->address().rfind(':') + 1));
    proxy_ = std::make_unique<Proxy>(port);
    Create("streamed", "adam");
    Create("unary", "adam");
    streamed_ = std::make_unique<Session>(Join(proxy_->address(), "streamed", {}));
    ClientOptions unary;
    unary.stream_threshold_bytes = kModelBytes;
    unary_ = std::make_unique<Session>(Join(server_->address(), "unary", unary));
  }

  void Create(const std::string& id, const std::string& method) {
    v1::CreateSessionRequest request;
    request.set_session_id(id);
    v1::SessionConfig& config = *request.mutable_config();
    v1::Tensor& tensor = *config.mutable_layout()->add_tensors();
    tensor.set_name("w");
    tensor.add_shape(kElements);
    if (method == "adam") {
      config.mutable_optimizer()->mutable_adam();
    } else {
      config.mutable_optimizer()->mutable_momentum();
    }
    config.mutable_schedule()->set_learning_rate(0.5);
    config.mutable_aggregation()->set_max_staleness(1);
    v1::InitialValueRule& rule = *request.mutable_initial_values()->mutable_seeded()->add_rules();
    rule.set_tensors("*");
    rule.mutable_constant();
    const auto created = client_->CreateSession(request);
    ASSERT_TRUE(created.ok()) << created.status();
  }
  uint64_t VersionOf(const std::string& id) const { return client_->GetSession(id)->version(); }
  static Session Join(const std::string& address, const std::string& id, ClientOptions options) {
    options.heartbeats = false;  // bytes through the proxy are the step's
    options.retry.initial_backoff = absl::Milliseconds(5);
    return Client::Connect(address, options)->Join(id, "a").value();
  }
  static std::vector<float> Gradient(uint64_t seed) {
    std::vector<float> gradient(kElements);
    for (uint64_t i = 0; i < kElements; ++i) {
      gradient[i] = static_cast<float>(static_cast<int64_t>((i + seed) * 2654435761 % 1001) - 500);
    }
    return gradient;
  }
  // Steps the unary session alike and compares.
  void ExpectUnaryBits(const std::vector<float>& gradient, const std::vector<float>& streamed) {
    std::vector<float> parameters(kElements);
    const auto result = unary_->Step(gradient, absl::MakeSpan(parameters));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(parameters == streamed);
  }

  std::unique_ptr<server::Server> server_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Proxy> proxy_;
  std::unique_ptr<Session> streamed_;
  std::unique_ptr<Session> unary_;
  std::vector<float> parameters_ = std::vector<float>(kElements);
};

TEST_F(ClientStreamTest, BitsAreThoseOfUnarySteps) {
  StepOptions with_checksums;
  with_checksums.checksums = true;
  for (uint64_t round = 1; round <= 4; ++round) {
    const std::vector<float> gradient = Gradient(round);
    const auto result = streamed_->Step(gradient, absl::MakeSpan(parameters_), {0.5},
                                        round % 2 == 0 ? with_checksums : StepOptions());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->num_attempts, 1);
    EXPECT_EQ(result->applied_version, round);
    EXPECT_EQ(result->report->loss(), 0.5);
    ExpectUnaryBits(gradient, parameters_);
  }
}

TEST_F(ClientStreamTest, ConnectionCutAnywhereIsOneStepWithTheSameBits) {
  struct Cut {
    bool from_server;
    int64_t bytes;
    bool judged;  // before the cut
  };
  const Cut cuts[] = {
      {false, 50, false},
      {false, kModelBytes / 3, false},
      {false, kModelBytes, false},  // shortly before the commit: frames have heads
      {true, kModelBytes / 8, true},
      {true, kModelBytes / 2, true},
      {true, kModelBytes, true},
  };
  uint64_t version = 0;
  for (const Cut& cut : cuts) {
    const std::vector<float> gradient = Gradient(version);
    proxy_->CutAfter(cut.from_server, cut.bytes);
    const auto result = streamed_->Step(gradient, absl::MakeSpan(parameters_));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_GE(result->num_attempts, 2) << cut.bytes;
    EXPECT_EQ(result->replayed, cut.judged) << cut.from_server << " " << cut.bytes;
    EXPECT_EQ(result->applied_version, ++version);
    EXPECT_EQ(VersionOf("streamed"), version);
    ExpectUnaryBits(gradient, parameters_);
  }
}

TEST_F(ClientStreamTest, PipelinedStepsAreTakenOnceEachThroughCuts) {
  std::vector<float> buffers[2] = {std::vector<float>(kElements), std::vector<float>(kElements)};
  constexpr uint64_t kSteps = 6;
  std::vector<std::vector<float>> gradients;
  for (uint64_t step = 0; step < kSteps; ++step) gradients.push_back(Gradient(step));
  const auto await = [&](uint64_t step) {
    const auto result = streamed_->AwaitStep();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->verdict, v1::VERDICT_APPLIED);
    EXPECT_EQ(result->applied_version, step + 1);
    EXPECT_EQ(streamed_->version(), step + 1);
    ExpectUnaryBits(gradients[step], buffers[step % 2]);
  };
  for (uint64_t step = 0; step < kSteps; ++step) {
    if (step == 2) proxy_->CutAfter(false, kModelBytes / 2);
    if (step == 4) proxy_->CutAfter(true, kModelBytes / 2);
    const absl::Status submitted =
        streamed_->SubmitStep(gradients[step], absl::MakeSpan(buffers[step % 2]));
    ASSERT_TRUE(submitted.ok()) << submitted;
    if (step > 0) await(step - 1);
  }
  await(kSteps - 1);
  EXPECT_EQ(VersionOf("streamed"), kSteps);
}

TEST_F(ClientStreamTest, LookaheadAndHalvesComeAsAPullGivesThem) {
  Create("halves", "momentum");
  Session session = Join(server_->address(), "halves", {});
  StepOptions step;
  step.point = v1::POINT_LOOKAHEAD;
  step.gradient_dtype = v1::DTYPE_BFLOAT16;
  step.reply_dtype = v1::DTYPE_FLOAT16;
  std::vector<float> gradient = Gradient(0);
  for (float& value : gradient) value *= 1.001f / 1024;
  std::vector<float> pulled(kElements);
  PullOptions pull;
  pull.point = v1::POINT_LOOKAHEAD;
  pull.dtype = v1::DTYPE_FLOAT16;
  pull.checksums = true;
  for (uint64_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(session.Step(gradient, absl::MakeSpan(parameters_), {}, step).ok());
    EXPECT_EQ(session.next_learning_rate(), 0.5);
    ASSERT_EQ(session.Pull(absl::MakeSpan(pulled), pull).value(), round);
    EXPECT_TRUE(pulled == parameters_);
  }
}

TEST_F(ClientStreamTest, CutPullGoesOn) {
  ASSERT_TRUE(streamed_->Step(Gradient(0), absl::MakeSpan(parameters_)).ok());
  std::vector<float> pulled(kElements);
  for (const int64_t bytes : {int64_t{1000}, kModelBytes / 2, kModelBytes - 1000}) {
    pulled.assign(kElements, 0.0f);
    proxy_->CutAfter(true, bytes);
    const auto version = streamed_->Pull(absl::MakeSpan(pulled));
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_TRUE(pulled == parameters_);
  }
}

}  // namespace
}  // namespace talweg
