// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_split.h"
#include "client/cpp/talweg/fake_transport.h"
#include "client/experiments/fleet/worker_line.h"
#include "client/experiments/mnist/network_session.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

// Works on a session in memory that adds gradients to the parameters.
class FleetWorkerTest : public ::testing::Test {
 protected:
  FleetWorkerTest() {
    v1::CreateSessionRequest request;
    SetNetwork({784, 4, 10}, 1, request);
    *server_->session.mutable_config() = request.config();
    server_->session.set_session_id("fleet");
    server_->parameters = Start();
    client_options_.heartbeats = false;
    client_options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.session_id = "fleet";
    options_.worker = "worker-0";
    options_.num_versions = 3;
    options_.batch_size = 16;
    options_.data_dir = TALWEG_MNIST_FOLDER;
  }
  // Not all alike, so that the loss depends on the images.
  static std::vector<float> Start() {
    std::vector<float> parameters(784 * 4 + 4 + 4 * 10 + 10);
    for (size_t i = 0; i < parameters.size(); ++i) {
      parameters[i] = 0.01f * static_cast<float>(i % 7) - 0.03f;
    }
    return parameters;
  }
  absl::Status Run() {
    const Client client(std::make_shared<FakeTransport>(server_), client_options_);
    out_.str("");
    return RunFleetWorker(client, options_, out_);
  }
  std::vector<double> Losses() const {
    std::vector<double> losses;
    for (const absl::string_view line : absl::StrSplit(out_.str(), '\n', absl::SkipEmpty())) {
      const auto step = ParseWorkerStep(line);
      if (step.has_value()) losses.push_back(step->loss);
    }
    return losses;
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions client_options_;
  FleetWorkerOptions options_;
  std::ostringstream out_;
};

TEST_F(FleetWorkerTest, ContributesUntilTheLastVersionTellsEachStepAndLeaves) {
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(server_->version, 3u);
  EXPECT_EQ(Losses().size(), 3u);
  EXPECT_THAT(out_.str(), HasSubstr("step APPLIED 3 "));
  EXPECT_FALSE(server_->joined);
  EXPECT_EQ(server_->steps[0].header().losses_size(), 1);
  EXPECT_EQ(server_->steps[0].header().worker(), "worker-0");
}

TEST_F(FleetWorkerTest, BatchesAreThoseOfItsSeedNameAndLife) {
  options_.num_versions = 1;
  const auto first_loss = [this] {
    server_->version = 0;
    server_->parameters = Start();
    EXPECT_TRUE(Run().ok());
    return Losses().at(0);
  };
  const double loss = first_loss();
  EXPECT_EQ(first_loss(), loss);
  options_.life = 1;
  EXPECT_NE(first_loss(), loss);
  options_.life = 0;
  options_.worker = "worker-1";
  EXPECT_NE(first_loss(), loss);
}

TEST_F(FleetWorkerTest, GoesOnAfterAChangedHistory) {
  int num_asked = 0;
  options_.stop = [&] {
    const std::lock_guard<std::mutex> lock(server_->mutex);
    if (++num_asked == 4) server_->history = 8;
    return false;
  };
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(server_->version, 3u);
  EXPECT_EQ(server_->steps.back().header().history(), 8u);
}

TEST_F(FleetWorkerTest, StoppedItLeaves) {
  options_.num_versions = 1000;
  int num_asked = 0;
  options_.stop = [&] { return ++num_asked > 20; };
  ASSERT_TRUE(Run().ok());
  EXPECT_LT(server_->version, 20u);
  EXPECT_FALSE(server_->joined);
}

TEST_F(FleetWorkerTest, RefusesASessionThatIsNotForMnist) {
  v1::CreateSessionRequest request;
  SetNetwork({2, 10}, 1, request);
  *server_->session.mutable_config() = request.config();
  EXPECT_THAT(std::string(Run().message()), HasSubstr("not one for MNIST"));
  options_.batch_size = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(Run()));
}

}  // namespace
}  // namespace talweg
