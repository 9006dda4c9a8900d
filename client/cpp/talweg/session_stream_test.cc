// SPDX-License-Identifier: Apache-2.0
//
// Contributions over a stream that breaks wherever it can, against a server in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::ElementsAre;

constexpr size_t kElements = 600000;  // three chunks of float32, two of a half

class SessionStreamTest : public ::testing::Test {
 protected:
  SessionStreamTest() {
    options_.retry.initial_backoff = absl::Milliseconds(1);
    options_.heartbeats = false;
    options_.stream_threshold_bytes = uint64_t{1} << 20;
    server_->parameters.assign(kElements, 0.0f);
    server_->pull_chunk = 262144;
    for (size_t i = 0; i < kElements; ++i) gradient_[i] = static_cast<float>(i % 1000 + 1);
  }
  Session Join() const {
    return Client(std::make_shared<FakeTransport>(server_), options_).Join("mlp", "w0").value();
  }
  std::vector<float> Twice() const {
    std::vector<float> twice = gradient_;
    for (float& value : twice) value *= 2;
    return twice;
  }
  absl::Span<float> parameters() { return absl::MakeSpan(parameters_); }

  const std::shared_ptr<FakeServer> server_ = std::make_shared<FakeServer>();
  ClientOptions options_;
  std::vector<float> gradient_ = std::vector<float>(kElements);
  std::vector<float> parameters_ = std::vector<float>(kElements, -1.0f);
};

TEST_F(SessionStreamTest, LargeStepsGoOverOneStreamAndOnlyTheFirstWaitsForItsGrant) {
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {0.5}).ok());
  EXPECT_EQ(parameters_, gradient_);
  const auto result = session.Step(gradient_, parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(parameters_, Twice());
  EXPECT_TRUE(result->applied());
  EXPECT_TRUE(result->report.has_value());
  EXPECT_EQ(result->num_attempts, 1);
  EXPECT_EQ(session.version(), 2u);
  EXPECT_EQ(session.next_learning_rate(), 0.5);
  EXPECT_TRUE(server_->steps.empty());
  EXPECT_THAT(
      server_->stream_trace,
      ElementsAre("open", "header 1", "grant", "chunk 1", "chunk 1", "chunk 1", "commit 1",  //
                  "grant", "data", "data", "data", "trailer",                                //
                  "header 2", "chunk 2", "chunk 2", "chunk 2", "commit 2",                   //
                  "grant", "data", "data", "data", "trailer"));
  const v1::ContributionHeader& header = server_->stream_headers[0].header();
  EXPECT_EQ(header.session_id(), "mlp");
  EXPECT_EQ(header.worker(), "w0");
  EXPECT_EQ(header.history(), 7u);
  EXPECT_EQ(header.incarnation(), 1u);
  EXPECT_THAT(header.losses(), ElementsAre(0.5));
  EXPECT_EQ(server_->stream_headers[1].header().base_version(), 1u);
}

TEST_F(SessionStreamTest, SmallStepsAreUnaryAndChecksumsStreamThem) {
  options_.stream_threshold_bytes = 4 * kElements;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters()).ok());
  EXPECT_EQ(server_->steps.size(), 1u);
  StepOptions step;
  step.checksums = true;
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(server_->steps.size(), 1u);
  EXPECT_EQ(server_->stream_headers.size(), 1u);
  EXPECT_EQ(parameters_, Twice());
}

TEST_F(SessionStreamTest, WithoutABufferNoDataComeAndTheBaseStays) {
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, {}).ok());
  EXPECT_EQ(server_->stream_headers[0].reply().data(), v1::REPLY_DATA_NONE);
  EXPECT_EQ(session.version(), 0u);
  EXPECT_EQ(server_->version, 1u);
}

class BrokenStreamTest : public SessionStreamTest,
                         public ::testing::WithParamInterface<StreamFault> {};

TEST_P(BrokenStreamTest, IsBegunAnewUnderTheSameSequenceAndTakesOneStep) {
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters()).ok());
  server_->stream_faults = {GetParam(), GetParam()};
  options_.retry.overall_timeout = absl::Minutes(1);
  const auto result = session.Step(gradient_, parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(parameters_, Twice());
  EXPECT_EQ(server_->version, 2u);
  EXPECT_EQ(result->applied_version, 2u);
  EXPECT_EQ(result->num_attempts, 3);
  const bool judged =
      GetParam() != StreamFault::kBeforeGrant && GetParam() != StreamFault::kMidChunks &&
      GetParam() != StreamFault::kLoseCommit && GetParam() != StreamFault::kCorruptChunk;
  EXPECT_EQ(result->replayed, judged);
  ASSERT_EQ(server_->stream_headers.size(), 4u);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(server_->stream_headers[i].header().sequence(), 2u);
  // What had hung goes over another connection.
  EXPECT_EQ(server_->num_reconnects, GetParam() == StreamFault::kHang ? 2 : 0);
}

INSTANTIATE_TEST_SUITE_P(Faults, BrokenStreamTest,
                         ::testing::Values(StreamFault::kBeforeGrant, StreamFault::kMidChunks,
                                           StreamFault::kLoseCommit, StreamFault::kBeforeData,
                                           StreamFault::kMidData, StreamFault::kBeforeTrailer,
                                           StreamFault::kHang, StreamFault::kCorruptChunk));

TEST_F(SessionStreamTest, UnansweredStepIsResumedFromTheLibrarysCopy) {
  options_.retry.overall_timeout = absl::Milliseconds(20);
  options_.retry.initial_backoff = absl::Seconds(1);  // one attempt only
  Session session = Join();
  for (const StreamFault fault :
       {StreamFault::kMidChunks, StreamFault::kBeforeData, StreamFault::kMidData}) {
    server_->stream_faults = {fault};
    std::vector<float> gradient = gradient_;
    EXPECT_TRUE(absl::IsUnavailable(session.Step(gradient, parameters()).status()));
    gradient.assign(gradient.size(), 1000.0f);
    const auto result = session.ResumeStep(parameters());
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->replayed, fault != StreamFault::kMidChunks);
    EXPECT_EQ(server_->version, result->applied_version);
    EXPECT_EQ(parameters_, server_->parameters);
  }
  EXPECT_EQ(server_->version, 3u);
  EXPECT_EQ(parameters_[1], 3 * gradient_[1]);
  EXPECT_TRUE(absl::IsFailedPrecondition(session.ResumeStep({}).status()));
}

TEST_F(SessionStreamTest, ServersErrorEndsTheContributionAndTheNextOpensAnotherStream) {
  Session session = Join();
  server_->history = 8;
  EXPECT_EQ(ReasonOf(session.Step(gradient_, parameters()).status()), "HISTORY_CHANGED");
  EXPECT_TRUE(absl::IsFailedPrecondition(session.ResumeStep(parameters()).status()));
  ASSERT_TRUE(session.Reattach().ok());
  ASSERT_TRUE(session.Step(gradient_, parameters()).ok());
  EXPECT_EQ(server_->version, 1u);
}

TEST_F(SessionStreamTest, GradientOfAnotherSizeIsRefusedBeforeItIsSent) {
  Session session = Join();
  gradient_.resize(kElements - 1);
  const absl::Status refused = session.Step(gradient_, parameters()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_EQ(server_->version, 0u);
}

TEST_F(SessionStreamTest, BufferOfAnotherSizeIsAnErrorAndTheAnswerCanBeAskedForAgain) {
  Session session = Join();
  std::vector<float> small(kElements - 1);
  EXPECT_TRUE(absl::IsInternal(session.Step(gradient_, absl::MakeSpan(small)).status()));
  const auto result = session.ResumeStep(parameters());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_->version, 1u);
  EXPECT_EQ(parameters_, gradient_);
}

TEST_F(SessionStreamTest, HalvesAreRoundedOnTheWayOutAndWidenedOnTheWayIn) {
  Session session = Join();
  gradient_.assign(kElements, 1.0f + 0x1p-8f);  // a tie in bfloat16, which goes down to 1
  StepOptions step;
  step.gradient_dtype = v1::DTYPE_BFLOAT16;
  step.reply_dtype = v1::DTYPE_FLOAT16;
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(parameters_, std::vector<float>(kElements, 1.0f));
  EXPECT_EQ(server_->parameters, parameters_);
  EXPECT_THAT(server_->stream_trace, ElementsAre("open", "header 1", "grant", "chunk 1", "chunk 1",
                                                 "commit 1", "grant", "data", "data", "trailer"));
  options_.stream_threshold_bytes = uint64_t{64} << 20;
  Session unary = Join();
  ASSERT_TRUE(unary.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(parameters_, std::vector<float>(kElements, 2.0f));
  EXPECT_EQ(server_->steps.size(), 1u);
}

TEST_F(SessionStreamTest, LookaheadComesBackWhereItIsAskedFor) {
  StepOptions step;
  step.point = v1::POINT_LOOKAHEAD;
  std::vector<float> expected = gradient_;
  for (float& value : expected) value += 0.5f;
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(parameters_, expected);
  step.point = v1::POINT_AVERAGE;
  EXPECT_TRUE(absl::IsInvalidArgument(session.Step(gradient_, parameters(), {}, step).status()));
}

TEST_F(SessionStreamTest, DataThatDoNotFitTheirChecksumArePulledAtTheirVersion) {
  StepOptions step;
  step.checksums = true;
  Session session = Join();
  server_->stream_faults = {StreamFault::kCorruptData, StreamFault::kCorruptSum};
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(parameters_, gradient_);
  ASSERT_EQ(server_->pulls.size(), 1u);
  EXPECT_EQ(server_->pulls[0].version(), 1u);
  EXPECT_EQ(server_->pulls[0].begin_element(), 262144u);  // the first frame was good
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  EXPECT_EQ(parameters_, Twice());
  ASSERT_EQ(server_->pulls.size(), 2u);
  EXPECT_EQ(server_->pulls[1].begin_element(), 0u);
  EXPECT_EQ(server_->version, 2u);
}

TEST_F(SessionStreamTest, ProgressIsToldInBytesBothWays) {
  std::vector<uint64_t> told;
  StepOptions step;
  step.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 2 * 4 * kElements);
    told.push_back(done);
  };
  Session session = Join();
  ASSERT_TRUE(session.Step(gradient_, parameters(), {}, step).ok());
  ASSERT_EQ(told.size(), 6u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(told.front(), uint64_t{1} << 20);
  EXPECT_EQ(told.back(), 2 * 4 * kElements);
}

TEST_F(SessionStreamTest, NextUploadOverlapsThisDownloadAndIsCommittedBehindItsTrailer) {
  Session session = Join();
  std::vector<float> second(kElements);
  ASSERT_TRUE(session.SubmitStep(gradient_, parameters()).ok());
  ASSERT_TRUE(session.SubmitStep(gradient_, absl::MakeSpan(second)).ok());
  EXPECT_THAT(
      server_->stream_trace,
      ElementsAre("open", "header 1", "grant", "chunk 1", "chunk 1", "chunk 1", "commit 1",  //
                  "header 2", "grant", "chunk 2", "chunk 2", "chunk 2",                      //
                  "data", "data", "data", "trailer", "commit 2"));
  EXPECT_TRUE(absl::IsFailedPrecondition(session.SubmitStep(gradient_, parameters())));
  EXPECT_TRUE(absl::IsFailedPrecondition(session.Step(gradient_, parameters()).status()));
  const auto first_result = session.AwaitStep();
  ASSERT_TRUE(first_result.ok()) << first_result.status();
  EXPECT_EQ(first_result->applied_version, 1u);
  EXPECT_EQ(session.version(), 1u);
  EXPECT_EQ(parameters_, gradient_);
  const auto second_result = session.AwaitStep();
  ASSERT_TRUE(second_result.ok()) << second_result.status();
  EXPECT_EQ(second_result->applied_version, 2u);
  EXPECT_EQ(second, Twice());
  EXPECT_EQ(server_->stream_headers[1].header().base_version(), 0u);
  EXPECT_TRUE(absl::IsFailedPrecondition(session.AwaitStep().status()));
}

TEST_F(SessionStreamTest, SmallContributionsMayBeSubmittedToo) {
  options_.stream_threshold_bytes = uint64_t{64} << 20;
  Session session = Join();
  std::vector<float> second(kElements);
  ASSERT_TRUE(session.SubmitStep(gradient_, parameters()).ok());
  ASSERT_TRUE(session.SubmitStep(gradient_, absl::MakeSpan(second)).ok());
  EXPECT_EQ(session.AwaitStep()->applied_version, 1u);
  EXPECT_EQ(session.AwaitStep()->applied_version, 2u);
  EXPECT_EQ(parameters_, gradient_);
  EXPECT_EQ(second, Twice());
}

// Wherever the stream breaks, each of two contributions under way is taken once, in order.
TEST_P(BrokenStreamTest, BehindAnotherContributionTakesEachOnce) {
  for (int healthy = 0; healthy < 3; ++healthy) {
    server_->parameters.assign(kElements, 0.0f);
    server_->version = 0;
    Session session = Join();
    server_->stream_faults.assign(healthy, StreamFault::kNone);
    server_->stream_faults.push_back(GetParam());
    std::vector<float> second(kElements);
    ASSERT_TRUE(session.SubmitStep(gradient_, parameters()).ok());
    ASSERT_TRUE(session.SubmitStep(gradient_, absl::MakeSpan(second)).ok());
    const auto first_result = session.AwaitStep();
    ASSERT_TRUE(first_result.ok()) << first_result.status();
    EXPECT_EQ(first_result->applied_version, 1u);
    const auto second_result = session.AwaitStep();
    ASSERT_TRUE(second_result.ok()) << second_result.status();
    EXPECT_EQ(second_result->applied_version, 2u);
    EXPECT_EQ(server_->version, 2u);
    EXPECT_EQ(parameters_, gradient_);
    EXPECT_EQ(second, Twice());
  }
}

TEST_F(SessionStreamTest, SubmittedContributionOutlastsAnOutage) {
  options_.retry.overall_timeout = absl::Milliseconds(20);
  options_.retry.initial_backoff = absl::Seconds(1);  // one attempt only
  Session session = Join();
  std::vector<float> second(kElements);
  ASSERT_TRUE(session.SubmitStep(gradient_, parameters()).ok());
  server_->stream_faults = {StreamFault::kMidChunks, StreamFault::kBeforeGrant};
  EXPECT_TRUE(absl::IsUnavailable(session.SubmitStep(gradient_, absl::MakeSpan(second))));
  EXPECT_EQ(session.AwaitStep()->applied_version, 1u);
  EXPECT_TRUE(absl::IsUnavailable(session.AwaitStep().status()));
  EXPECT_EQ(session.AwaitStep()->applied_version, 2u);
  EXPECT_EQ(second, Twice());
  EXPECT_EQ(server_->version, 2u);
}

TEST_F(SessionStreamTest, PullTakesPointDtypeAndChecksums) {
  server_->parameters.assign(kElements, 3.0f);
  server_->version = 4;
  Session session = Join();
  PullOptions pull;
  pull.point = v1::POINT_LOOKAHEAD;
  pull.dtype = v1::DTYPE_BFLOAT16;
  pull.checksums = true;
  uint64_t told = 0;
  pull.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 2 * kElements);
    told = done;
  };
  const auto version = session.Pull(parameters(), pull);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(parameters_, std::vector<float>(kElements, 3.5f));
  EXPECT_EQ(session.next_learning_rate(), 0.5);
  EXPECT_EQ(told, 2 * kElements);

  server_->version = 5;
  pull.point = v1::POINT_AVERAGE;
  EXPECT_EQ(*session.Pull(parameters(), pull), 5u);
  EXPECT_EQ(session.version(), 4u);  // no gradient is taken at an average
}

TEST_F(SessionStreamTest, PulledMessageThatDoesNotFitItsChecksumIsPulledAgain) {
  server_->parameters = gradient_;
  server_->corrupt_pull_message = 2;
  Session session = Join();
  PullOptions pull;
  pull.checksums = true;
  ASSERT_TRUE(session.Pull(parameters(), pull).ok());
  EXPECT_EQ(parameters_, gradient_);
  ASSERT_EQ(server_->pulls.size(), 2u);
  EXPECT_EQ(server_->pulls[1].begin_element(), 262144u);
}

TEST_F(SessionStreamTest, LookaheadUnderAnotherRateStartsOver) {
  server_->break_pull_after = 1;
  server_->rate_changes_at_break = true;
  Session session = Join();
  PullOptions pull;
  pull.point = v1::POINT_LOOKAHEAD;
  ASSERT_TRUE(session.Pull(parameters(), pull).ok());
  EXPECT_EQ(parameters_, std::vector<float>(kElements, 1.0f));
  EXPECT_EQ(session.next_learning_rate(), 1.0);
  ASSERT_EQ(server_->pulls.size(), 3u);  // broken, of another rate, whole
  EXPECT_EQ(server_->pulls[1].begin_element(), 262144u);
  EXPECT_EQ(server_->pulls[2].begin_element(), 0u);
}

}  // namespace
}  // namespace talweg
