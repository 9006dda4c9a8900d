// SPDX-License-Identifier: Apache-2.0
//
// A worker among others: answers that wait for them, against a server in memory. Every promise is
// kept in one message and over a stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

constexpr int kForEver = std::numeric_limits<int>::max();

class SessionRoundTest : public ::testing::TestWithParam<bool> {
 protected:
  SessionRoundTest() {
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.heartbeats = false;
    if (streamed()) options_.stream_threshold_bytes = 1;
    server_->replies_wait = true;
    server_->round_open = true;
  }
  static bool streamed() { return GetParam(); }
  Session Join(const JoinOptions& join = {}) const {
    return Client(std::make_shared<FakeTransport>(server_), options_)
        .Join("mlp", "w0", join)
        .value();
  }
  absl::Span<float> parameters() { return absl::MakeSpan(parameters_); }
  std::vector<v1::ContributionHeader> Headers() const {
    std::vector<v1::ContributionHeader> headers;
    for (const v1::StepRequest& step : server_->steps) headers.push_back(step.header());
    for (const v1::StreamHeader& header : server_->stream_headers) {
      headers.push_back(header.header());
    }
    return headers;
  }
  int64_t NumStreams() const {
    return std::count(server_->stream_trace.begin(), server_->stream_trace.end(), "open");
  }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  std::vector<float> gradient_ = {1, 2, 3, 4};
  std::vector<float> parameters_ = std::vector<float>(4, -1.0f);
};

INSTANTIATE_TEST_SUITE_P(Shapes, SessionRoundTest, ::testing::Bool(), [](const auto& shape) {
  return shape.param ? "Streamed" : "InOneMessage";
});

TEST_P(SessionRoundTest, WaitingForOthersIsNoFailure) {
  // Shorter than any wait.
  options_.retry.attempt_timeout = absl::Milliseconds(1);
  options_.retry.overall_timeout = absl::Milliseconds(1);
  server_->num_silences = 1000;
  Session session = Join();
  EXPECT_TRUE(session.replies_wait());
  const auto result = session.Step(gradient_, parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_EQ(result->applied_version, 1u);
  EXPECT_EQ(server_->version, 1u);
  EXPECT_EQ(session.version(), 1u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(server_->num_reconnects, 0);
  // A message is sent again now and then, a stream waits.
  EXPECT_EQ(result->num_attempts, streamed() ? 1 : 1001);
  EXPECT_EQ(NumStreams(), streamed() ? 1 : 0);
  for (const v1::ContributionHeader& header : Headers()) EXPECT_EQ(header.sequence(), 1u);
}

TEST_P(SessionRoundTest, SilenceOfASessionWhoseRepliesDoNotWaitIsAFailure) {
  options_.retry.overall_timeout = absl::Milliseconds(5);
  options_.retry.initial_backoff = absl::Milliseconds(50);  // one attempt only
  server_->replies_wait = false;
  server_->num_silences = kForEver;
  Session session = Join();
  const absl::Status silent = session.Step(gradient_, parameters()).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(silent)) << silent;
  EXPECT_EQ(server_->num_reconnects, 1);
}

TEST_P(SessionRoundTest, RoundTimeoutEndsTheWaitAndTheContributionIsResumed) {
  options_.retry.round_timeout = absl::Milliseconds(20);
  server_->num_silences = kForEver;
  Session session = Join();
  const absl::Status late = session.Step(gradient_, parameters()).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_EQ(late.message(),
            "after 20 ms the version is not made: the session waits for other workers");
  server_->CloseRound();
  gradient_.assign(4, 100.0f);  // the library has its copy
  const auto result = session.ResumeStep(parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_TRUE(result->replayed);
  EXPECT_EQ(server_->version, 1u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));
}

TEST_P(SessionRoundTest, StopEndsTheWait) {
  int num_asked = 0;
  options_.retry.stop = [&] { return ++num_asked > 3; };
  server_->num_silences = kForEver;
  Session session = Join();
  const absl::Status stopped = session.Step(gradient_, parameters()).status();
  EXPECT_TRUE(absl::IsCancelled(stopped)) << stopped;
  EXPECT_EQ(num_asked, 4);
  num_asked = -1000;
  server_->CloseRound();
  EXPECT_TRUE(session.ResumeStep(parameters()).ok());
  EXPECT_EQ(server_->version, 1u);
}

TEST_P(SessionRoundTest, ConnectionLostWhileWaitingIsMadeAnewAndWaitsOn) {
  server_->faults = {Fault::kNone, Fault::kLoseReply, Fault::kLoseRequest};  // behind the join
  server_->stream_faults = {StreamFault::kBeforeData, StreamFault::kMidChunks};
  server_->num_silences = 500;
  Session session = Join();
  const auto result = session.Step(gradient_, parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_GE(result->num_attempts, 3);
  EXPECT_EQ(server_->version, 1u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));
  for (const v1::ContributionHeader& header : Headers()) EXPECT_EQ(header.sequence(), 1u);
}

TEST_P(SessionRoundTest, ServerThatIsGoneIsNotWaitedForLongerThanTheOverallTimeout) {
  options_.retry.overall_timeout = absl::Milliseconds(20);
  Session session = Join();
  server_->faults.assign(1000, Fault::kLoseRequest);
  server_->stream_faults.assign(1000, StreamFault::kBeforeGrant);
  const absl::Status gone = session.Step(gradient_, parameters()).status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
}

// A wait that ends with the connection is no time in which the server was not there.
TEST_P(SessionRoundTest, OverallTimeoutBeginsAnewWithEveryLongWait) {
  options_.retry.attempt_timeout = options_.retry.round_attempt_timeout = absl::Seconds(1);
  options_.retry.overall_timeout = absl::Milliseconds(50);
  options_.retry.stop = [] {
    absl::SleepFor(absl::Milliseconds(5));
    return false;
  };
  server_->faults.assign(66, Fault::kNone);
  for (int i : {20, 40, 60}) server_->faults[i] = Fault::kLoseReply;
  server_->stream_faults.assign(3, StreamFault::kMidWait);
  server_->num_silences = 65;
  Session session = Join();
  const auto result = session.Step(gradient_, parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_EQ(server_->version, 1u);
}

TEST_P(SessionRoundTest, AContributionThatWillNotCountSaysSoWhileItIsPending) {
  StepOptions step;
  step.return_pending = true;
  server_->will_not_count = true;
  Session session = Join();
  auto result = session.Step(gradient_, parameters(), {}, step);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->pending());
  EXPECT_TRUE(result->will_not_count);
  server_->will_not_count = false;
  result = session.ResumeStep(parameters(), /*return_pending=*/true);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->will_not_count);
}

TEST_P(SessionRoundTest, WhoeverDoesNotWaitIsToldThatItIsPendingAndAsksAgain) {
  StepOptions step;
  step.return_pending = true;
  Session session = Join();
  auto result = session.Step(gradient_, parameters(), {}, step);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->pending());
  EXPECT_FALSE(result->applied());
  EXPECT_EQ(result->applied_version, 1u);
  EXPECT_EQ(session.version(), 0u);
  gradient_.assign(4, 100.0f);  // the library has its copy

  result = session.ResumeStep(parameters(), /*return_pending=*/true);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->pending());
  EXPECT_TRUE(result->replayed);
  EXPECT_EQ(result->num_attempts, 1);

  server_->CloseRound();
  result = session.ResumeStep(parameters(), /*return_pending=*/true);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_EQ(session.version(), 1u);
  EXPECT_THAT(parameters_, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(server_->version, 1u);
  for (const v1::ContributionHeader& header : Headers()) EXPECT_EQ(header.sequence(), 1u);
  EXPECT_TRUE(absl::IsFailedPrecondition(session.ResumeStep(parameters()).status()));
  EXPECT_EQ(NumStreams(), streamed() ? 1 : 0);
}

// As of accumulated gradients.
TEST_P(SessionRoundTest, PendingContributionOfASessionThatDoesNotWaitIsAskedForAgainAndAgain) {
  server_->replies_wait = false;
  server_->answers_pending = true;
  StepOptions step;
  step.return_pending = true;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step)->pending());
  ASSERT_TRUE(session.ResumeStep(parameters())->pending());
  server_->CloseRound();
  EXPECT_TRUE(session.ResumeStep(parameters())->applied());
  EXPECT_EQ(server_->version, 1u);
}

TEST_P(SessionRoundTest, PendingContributionIsWaitedForAfterAll) {
  StepOptions step;
  step.return_pending = true;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step)->pending());
  server_->num_silences = 3;
  const auto result = session.ResumeStep(parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_EQ(server_->version, 1u);
}

TEST_P(SessionRoundTest, NextStepGivesUpWhatIsPendingAndKeepsTheStream) {
  StepOptions step;
  step.return_pending = true;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step)->pending());
  server_->CloseRound();
  ASSERT_TRUE(session.Step(gradient_, parameters())->applied());
  EXPECT_EQ(Headers().back().sequence(), 2u);
  EXPECT_EQ(server_->version, 2u);
  EXPECT_EQ(NumStreams(), streamed() ? 1 : 0);
}

TEST_P(SessionRoundTest, SubmittedContributionsWait) {
  StepOptions step;
  step.return_pending = true;
  Session session = Join();
  EXPECT_TRUE(absl::IsInvalidArgument(session.SubmitStep(gradient_, parameters(), {}, step)));
  server_->num_silences = 1000;
  ASSERT_TRUE(session.SubmitStep(gradient_, parameters()).ok());
  const auto result = session.AwaitStep();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->applied());
  EXPECT_EQ(server_->version, 1u);
}

TEST_P(SessionRoundTest, WeightAndDifferenceTravel) {
  server_->round_open = false;
  StepOptions step;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  step.weight = 60.0f;
  step.difference = true;
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  const std::vector<v1::ContributionHeader> headers = Headers();
  EXPECT_FALSE(headers[0].has_weight());
  EXPECT_EQ(headers[1].weight(), 60.0f);
  std::vector<v1::SectionKind> kinds = server_->chunk_kinds;
  for (const v1::StepRequest& request : server_->steps) kinds.push_back(request.sections(0).kind());
  EXPECT_THAT(kinds, ElementsAre(v1::SECTION_KIND_GRADIENT, v1::SECTION_KIND_DIFFERENCE));
}

TEST_P(SessionRoundTest, AWorkerMayAbstain) {
  server_->round_open = false;
  Session session = Join();
  StepOptions abstain;
  abstain.abstain = true;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const absl::StatusOr<StepResult> result = session.Step({}, parameters(), {}, abstain);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->verdict, v1::VERDICT_ABSTAINED);
    EXPECT_FALSE(result->applied());
    ASSERT_TRUE(session.Step(gradient_, parameters()).ok());
  }
  const std::vector<v1::ContributionHeader> headers = Headers();
  ASSERT_EQ(headers.size(), 4u);
  EXPECT_TRUE(headers[0].abstain());
  EXPECT_FALSE(headers[1].abstain());
  EXPECT_EQ(server_->version, 2u);
  EXPECT_TRUE(absl::IsInvalidArgument(session.Step(gradient_, {}, {}, abstain).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(session.Step({}, {}, {0.5}, abstain).status()));
  abstain.weight = 1.0f;
  EXPECT_TRUE(absl::IsInvalidArgument(session.Step({}, {}, {}, abstain).status()));
}

TEST_P(SessionRoundTest, RolesAreToldAtEveryJoin) {
  Session session = Join();
  Session other = Join({{v1::ROLE_STATISTICS, v1::ROLE_GRADIENT}});
  ASSERT_TRUE(other.Reattach().ok());
  EXPECT_EQ(server_->joins[0].roles_size(), 0);
  for (int i : {1, 2}) {
    EXPECT_THAT(server_->joins[i].roles(), ElementsAre(v1::ROLE_STATISTICS, v1::ROLE_GRADIENT));
  }
}

TEST(PullRoundTest, PullWaitsForAVersion) {
  const auto server = std::make_shared<FakeServer>();
  ClientOptions options;
  options.retry.attempt_timeout = absl::Milliseconds(1);
  options.retry.overall_timeout = absl::Milliseconds(1);
  const Client client(std::make_shared<FakeTransport>(server), options);
  server->num_silences = 1000;
  std::vector<float> parameters(4);
  PullOptions pull;
  pull.min_version = 1;
  const auto pulled = client.Pull("mlp", absl::MakeSpan(parameters), pull);
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(pulled->version, 1u);
  EXPECT_EQ(server->num_reconnects, 0);
  EXPECT_EQ(server->pulls.front().min_version(), 1u);
}

TEST(PullRoundTest, BrokenPullGoesOnAtItsVersionAndOneThatStartsOverWaitsAgain) {
  const auto server = std::make_shared<FakeServer>();
  server->version = 3;
  server->break_pull_after = 1;
  server->step_at_break = true;
  ClientOptions options;
  options.retry.initial_backoff = absl::Milliseconds(1);
  const Client client(std::make_shared<FakeTransport>(server), options);
  std::vector<float> parameters(4);
  PullOptions pull;
  pull.min_version = 3;
  const auto pulled = client.Pull("mlp", absl::MakeSpan(parameters), pull);
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(pulled->version, 4u);
  ASSERT_EQ(server->pulls.size(), 3u);  // broken, gone, whole
  EXPECT_EQ(server->pulls[1].version(), 3u);
  EXPECT_EQ(server->pulls[1].min_version(), 0u);
  EXPECT_FALSE(server->pulls[2].has_version());
  EXPECT_EQ(server->pulls[2].min_version(), 3u);
}

// Broken, it goes on at the version that was asked for; gone, it fails.
TEST(PullRoundTest, APullOfOneVersionBringsNoOther) {
  for (const bool steps : {false, true}) {
    const auto server = std::make_shared<FakeServer>();
    server->version = 3;
    server->break_pull_after = 1;
    server->step_at_break = steps;
    ClientOptions options;
    options.retry.initial_backoff = absl::Milliseconds(1);
    const Client client(std::make_shared<FakeTransport>(server), options);
    std::vector<float> parameters(4);
    PullOptions pull;
    pull.version = 3;
    const auto pulled = client.Pull("mlp", absl::MakeSpan(parameters), pull);
    ASSERT_EQ(server->pulls.size(), 2u);
    for (const v1::PullRequest& request : server->pulls) EXPECT_EQ(request.version(), 3u);
    if (steps) {
      EXPECT_EQ(ReasonOf(pulled.status()), "VERSION_GONE");
    } else {
      ASSERT_TRUE(pulled.ok()) << pulled.status();
      EXPECT_EQ(pulled->version, 3u);
    }
  }
}

TEST(PullRoundTest, RoundTimeoutEndsTheWaitForAVersion) {
  const auto server = std::make_shared<FakeServer>();
  server->num_silences = kForEver;
  ClientOptions options;
  options.retry.round_timeout = absl::Milliseconds(20);
  const Client client(std::make_shared<FakeTransport>(server), options);
  std::vector<float> parameters(4);
  PullOptions pull;
  pull.min_version = 9;
  const absl::Status late = client.Pull("mlp", absl::MakeSpan(parameters), pull).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_EQ(late.message(), "after 20 ms the session has not come to version 9");
}

}  // namespace
}  // namespace talweg
