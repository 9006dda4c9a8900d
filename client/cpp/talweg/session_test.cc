// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "absl/time/clock.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.heartbeats = false;
  }
  Session Join() const {
    return Client(std::make_shared<FakeTransport>(server_), options_).Join("mlp", "w0").value();
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  const std::vector<float> gradient_ = {1, 2, 3, 4};
  std::vector<float> parameters_ = std::vector<float>(4, -1.0f);
};

TEST_F(SessionTest, StepSendsTheContributionAndBringsTheNextPoint) {
  server_->version = 5;
  Session session = Join();
  EXPECT_EQ(session.version(), 5u);
  const auto result = session.Step(gradient_, absl::MakeSpan(parameters_), {0.5, 0.25});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_FALSE(result->replayed);
  EXPECT_EQ(result->applied_version, 6u);
  EXPECT_TRUE(result->report.has_value());
  EXPECT_EQ(session.version(), 6u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));

  const v1::ContributionHeader& header = server_->steps[0].header();
  EXPECT_EQ(header.session_id(), "mlp");
  EXPECT_EQ(header.worker(), "w0");
  EXPECT_EQ(header.history(), 7u);
  EXPECT_EQ(header.incarnation(), 1u);
  EXPECT_EQ(header.sequence(), 1u);
  EXPECT_EQ(header.base_version(), 5u);
  EXPECT_THAT(header.losses(), ElementsAre(0.5, 0.25));

  ASSERT_TRUE(session.Step(gradient_, absl::MakeSpan(parameters_)).ok());
  EXPECT_EQ(server_->steps[1].header().sequence(), 2u);
  EXPECT_EQ(server_->steps[1].header().base_version(), 6u);
  EXPECT_EQ(server_->steps[1].header().losses_size(), 0);
  EXPECT_EQ(server_->steps[1].sections_size(), 1);
}

TEST_F(SessionTest, AGradientMayBeOfAnOlderVersion) {
  server_->version = 5;
  Session session = Join();
  StepOptions options;
  options.base_version = 3;
  ASSERT_TRUE(session.Step(gradient_, absl::MakeSpan(parameters_), {}, options).ok());
  EXPECT_EQ(server_->steps[0].header().base_version(), 3u);
  EXPECT_EQ(session.version(), 6u);
  options.checksums = true;  // over a stream
  options.base_version = 0;
  ASSERT_TRUE(session.Step(gradient_, absl::MakeSpan(parameters_), {}, options).ok());
  EXPECT_EQ(server_->stream_headers[0].header().base_version(), 0u);
}

TEST_F(SessionTest, LostReplyIsRetriedUnderTheSameSequenceAndTakesOneStep) {
  Session session = Join();
  server_->faults = {Fault::kLoseReply, Fault::kLateReply, Fault::kLoseRequest};
  const auto result = session.Step(gradient_, absl::MakeSpan(parameters_));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->replayed);
  EXPECT_EQ(result->num_attempts, 4);
  EXPECT_EQ(server_->version, 1u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));
  for (const v1::StepRequest& step : server_->steps) EXPECT_EQ(step.header().sequence(), 1u);
  EXPECT_EQ(server_->num_reconnects, 1);
}

TEST_F(SessionTest, UnansweredStepIsResumedUnderItsOwnSequence) {
  options_.retry.overall_timeout = absl::Milliseconds(5);
  options_.retry.initial_backoff = absl::Milliseconds(50);  // one attempt only
  Session session = Join();
  EXPECT_TRUE(absl::IsFailedPrecondition(session.ResumeStep({}).status()));
  server_->faults = {Fault::kLoseReply};
  EXPECT_TRUE(absl::IsUnavailable(session.Step(gradient_, absl::MakeSpan(parameters_)).status()));
  const auto result = session.ResumeStep(absl::MakeSpan(parameters_));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->replayed);
  EXPECT_EQ(server_->version, 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(session.ResumeStep({}).status()));
}

TEST_F(SessionTest, WithoutABufferNoParametersAreSentAndTheBaseStays) {
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, {}).ok());
  EXPECT_EQ(server_->steps[0].reply().data(), v1::REPLY_DATA_NONE);
  EXPECT_EQ(session.version(), 0u);
}

TEST_F(SessionTest, ReplyOfAnotherSizeIsAnError) {
  Session session = Join();
  std::vector<float> short_buffer(3);
  EXPECT_TRUE(absl::IsInternal(session.Step(gradient_, absl::MakeSpan(short_buffer)).status()));
}

TEST_F(SessionTest, HistoryChangedIsReportedAndReattachGoesOn) {
  Session session = Join();
  server_->history = 8;
  server_->version = 3;
  const absl::Status changed = session.Step(gradient_, absl::MakeSpan(parameters_)).status();
  EXPECT_EQ(ReasonOf(changed), "HISTORY_CHANGED");
  EXPECT_EQ(HistoryOf(changed), 8u);
  EXPECT_EQ(VersionOf(changed), 3u);
  EXPECT_EQ(server_->incarnation, 1u);  // nobody joined by itself

  const auto version = session.Reattach();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 3u);
  EXPECT_EQ(session.history(), 8u);
  EXPECT_EQ(session.incarnation(), 2u);
  ASSERT_TRUE(session.Step(gradient_, absl::MakeSpan(parameters_)).ok());
  EXPECT_EQ(server_->steps.back().header().sequence(), 1u);
  EXPECT_EQ(server_->steps.back().header().incarnation(), 2u);
}

TEST_F(SessionTest, FencedIsFinal) {
  Session session = Join();
  server_->refusals = {ServerError(absl::StatusCode::kAborted, "INCARNATION_FENCED")};
  EXPECT_EQ(ReasonOf(session.Step(gradient_, {}).status()), "INCARNATION_FENCED");
  EXPECT_EQ(ReasonOf(session.Reattach().status()), "INCARNATION_FENCED");
  EXPECT_EQ(server_->incarnation, 1u);
}

TEST_F(SessionTest, BrokenPullGoesOnFromTheFirstMissingElement) {
  server_->parameters = {1, 2, 3, 4, 5};
  server_->version = 9;
  server_->break_pull_after = 2;
  Session session = Join();
  std::vector<float> pulled(5);
  const auto version = session.Pull(absl::MakeSpan(pulled));
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 9u);
  EXPECT_THAT(pulled, ElementsAre(1, 2, 3, 4, 5));
  ASSERT_EQ(server_->pulls.size(), 2u);
  EXPECT_FALSE(server_->pulls[0].has_version());
  EXPECT_EQ(server_->pulls[1].begin_element(), 4u);
  EXPECT_EQ(server_->pulls[1].version(), 9u);
}

TEST_F(SessionTest, PullOfAVersionThatIsGoneStartsOver) {
  server_->break_pull_after = 1;
  server_->step_at_break = true;
  Session session = Join();
  std::vector<float> pulled(4);
  const auto version = session.Pull(absl::MakeSpan(pulled));
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(*version, 1u);
  EXPECT_THAT(pulled, ElementsAre(10, 10, 10, 10));
  ASSERT_EQ(server_->pulls.size(), 3u);  // broken, gone, whole
  EXPECT_EQ(server_->pulls[1].begin_element(), 2u);
  EXPECT_EQ(server_->pulls[2].begin_element(), 0u);
  EXPECT_FALSE(server_->pulls[2].has_version());
}

TEST_F(SessionTest, PullIntoABufferOfAnotherSizeIsRefused) {
  Session session = Join();
  std::vector<float> pulled(3);
  EXPECT_TRUE(absl::IsInvalidArgument(session.Pull(absl::MakeSpan(pulled)).status()));
}

TEST_F(SessionTest, AttemptsOfOneJoinAreOneIncarnation) {
  server_->faults = {Fault::kLoseReply, Fault::kLateReply};
  Session session = Join();
  ASSERT_EQ(server_->joins.size(), 3u);
  EXPECT_EQ(server_->joins[0].nonce().size(), 32u);
  EXPECT_EQ(server_->joins[1].nonce(), server_->joins[0].nonce());
  EXPECT_EQ(server_->joins[2].nonce(), server_->joins[0].nonce());
  EXPECT_EQ(session.incarnation(), 1u);
  ASSERT_TRUE(session.Reattach().ok());
  EXPECT_NE(server_->joins[3].nonce(), server_->joins[0].nonce());
  EXPECT_EQ(session.incarnation(), 2u);
}

TEST_F(SessionTest, LeaveWhoseReplyWasLostIsDoneAndASecondLeaveDoesNothing) {
  Session session = Join();
  server_->faults = {Fault::kLoseReply};
  EXPECT_TRUE(session.Leave().ok());
  EXPECT_FALSE(server_->joined);
  EXPECT_TRUE(session.Leave().ok());
}

TEST_F(SessionTest, HeartbeatsComeByThemselves) {
  options_.heartbeats = true;
  server_->lease_seconds = 1;
  Session session = Join();
  for (int waited = 0; waited < 1000; ++waited) {
    {
      const std::lock_guard<std::mutex> lock(server_->mutex);
      if (server_->num_heartbeats >= 2) break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(session.Step(gradient_, absl::MakeSpan(parameters_)).ok());
  EXPECT_TRUE(session.Leave().ok());  // ends the thread
  EXPECT_GE(server_->num_heartbeats, 2);
  // A step on its way never holds them up.
  EXPECT_THAT(server_->step_connections, ElementsAre(0));
  EXPECT_THAT(server_->heartbeat_connections, ElementsAre(1));
}

TEST_F(SessionTest, HeartbeatFollowsALostOneAsSoonAsTheConnectionStandsAgain) {
  options_.heartbeats = true;
  server_->lease_seconds = 3;  // a heartbeat every second
  server_->num_lost_heartbeats = 20;
  server_->comes_back_at_once = true;
  Session session = Join();
  const absl::Time give_up = absl::Now() + absl::Seconds(15);
  for (int beats = 0; beats == 0 && absl::Now() < give_up;) {
    absl::SleepFor(absl::Milliseconds(10));
    const std::lock_guard<std::mutex> lock(server_->mutex);
    beats = server_->num_heartbeats;
  }
  const std::lock_guard<std::mutex> lock(server_->mutex);
  EXPECT_EQ(server_->num_heartbeats, 1);
}

TEST_F(SessionTest, RetryFollowsAsSoonAsTheConnectionStandsAgain) {
  options_.retry.max_backoff = absl::Seconds(4);
  server_->comes_back_at_once = true;
  server_->faults = std::deque<Fault>(20, Fault::kLoseRequest);  // 18 s of backoff at least
  const absl::Time before = absl::Now();
  const Session session = Join();
  EXPECT_LT(absl::Now() - before, absl::Seconds(10));
  EXPECT_EQ(server_->num_rests, 20);
}

}  // namespace
}  // namespace talweg
