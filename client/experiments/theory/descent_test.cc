// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/theory/descent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

// Against a server in memory that adds gradients to the parameters.
class DescentTest : public ::testing::Test {
 protected:
  DescentTest() {
    options_.heartbeats = false;
    server_->parameters = {1, 2};
    descent_.name = "test";
    descent_.start = {1, 2};
    descent_.num_steps = 3;
    descent_.gradient = [](absl::Span<const float>, absl::Span<float> gradient) {
      gradient[0] = 0.5f;
      gradient[1] = -1;
    };
    descent_.see = [this](uint64_t step, absl::Span<const float> parameters) {
      EXPECT_EQ(step, seen_.size());
      seen_.push_back(parameters[0]);
      return true;
    };
  }
  absl::Status Run() {
    return Descend(Client(std::make_shared<FakeTransport>(server_), options_), descent_);
  }
  void ExpectNothingLeft() {
    EXPECT_EQ(server_->session.session_id(), "");
    EXPECT_FALSE(server_->joined);
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  Descent descent_;
  std::vector<float> seen_;
};

TEST_F(DescentTest, SeesTheStartAndEveryStepAndDeletesItsSession) {
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(seen_, ElementsAre(1, 1.5, 2, 2.5));
  EXPECT_EQ(server_->pulls.size(), 1u);
  ExpectNothingLeft();
}

TEST_F(DescentTest, EndsWhereTheSeerSaysSo) {
  descent_.see = [](uint64_t step, absl::Span<const float>) { return step < 2; };
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(server_->steps.size(), 2u);
  ExpectNothingLeft();
}

TEST_F(DescentTest, StoppedItLeavesNothingBehind) {
  descent_.stop = [this] { return seen_.size() > 1; };
  EXPECT_TRUE(absl::IsCancelled(Run()));
  EXPECT_EQ(server_->steps.size(), 1u);
  ExpectNothingLeft();
}

TEST_F(DescentTest, AnErrorLeavesNothingBehindEither) {
  descent_.gradient = [this](absl::Span<const float>, absl::Span<float>) {
    server_->refusals.push_back(
        ServerError(absl::StatusCode::kInvalidArgument, "SECTION_SIZE_MISMATCH"));
  };
  EXPECT_EQ(ReasonOf(Run()), "SECTION_SIZE_MISMATCH");
  ExpectNothingLeft();
}

TEST_F(DescentTest, AsksForTheLookaheadAndRetunesBeforeEachStep) {
  descent_.lookahead = true;
  std::vector<uint64_t> asked;
  descent_.retune = [&](uint64_t step, v1::UpdateSessionRequest& update) {
    EXPECT_NE(update.session_id(), "");
    EXPECT_EQ(server_->steps.size() + 1, step);
    asked.push_back(step);
  };
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(asked, ElementsAre(1, 2, 3));
  ASSERT_EQ(server_->pulls.size(), 4u);
  EXPECT_EQ(server_->pulls[0].point(), v1::POINT_PARAMETERS);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(server_->pulls[i].point(), v1::POINT_LOOKAHEAD);
}

}  // namespace
}  // namespace talweg
