// SPDX-License-Identifier: Apache-2.0
//
// Hostile contributions and streams against a real server over a socket: it answers each as the
// model of a session says, with a reason if it refuses; it takes only whole contributions; and it
// holds nothing when they are over.
#include <chrono>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/reasons.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "tests/fuzz/hostile_contributions.h"
#include "tests/fuzz/hostile_frames.h"
#include "tests/fuzz/seed.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using testing::ByteSource;
using testing::Complaints;
using testing::RandomBytes;
using testing::SessionModel;
using testing::WireClient;
using testing::WireStream;

// Of the session that makes rounds.
constexpr uint64_t kElementsInRounds = 4097;

class WireFuzzTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    auto started = server::Server::Start(
        {.address = "127.0.0.1:0", .num_threads = 2, .message_bytes = uint64_t{8} << 20});
    ASSERT_TRUE(started.ok());
    server_ = *std::move(started);
    wire_ = std::make_unique<WireClient>(server_->address());
    v1::CreateSessionRequest create = testing::VectorSession("s", GetParam(), "momentum");
    // There is one worker, so rounds give the same versions, only made in another way.
    const auto mode = GetParam() == kElementsInRounds ? v1::AGGREGATION_MODE_SYNCHRONOUS
                                                      : v1::AGGREGATION_MODE_ASYNCHRONOUS;
    create.mutable_config()->mutable_aggregation()->set_mode(mode);
    ASSERT_TRUE(wire_->Create(create).ok());
    const v1::JoinResponse joined = wire_->Join("s");
    model_ = std::make_unique<SessionModel>("s", joined.history(), GetParam(), mode);
    Join();  // anew, so that there is an incarnation that was fenced
    checksum_ = wire_->Checksum("s");
  }

  // Every byte that contributions held is given back.
  void TearDown() override {
    for (int tries = 0; tries < 5000 && server_->message_bytes() != 0; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_->message_bytes(), 0u);
  }

  // The verdict about a gradient of an older version.
  static std::string Late() {
    return GetParam() == kElementsInRounds ? "VERDICT_ROUND_CLOSED" : "VERDICT_TOO_STALE";
  }

  // The bytes of one case. Its messages are the same at whatever version the session is.
  std::string BytesOf(uint64_t number) const {
    uint64_t state = testing::StateOfCase(seed_, number);
    return RandomBytes(400, state);
  }

  void Join() {
    model_->Join(wire_->Join("s").incarnation());
    checksum_ = wire_->Checksum("s");
  }

  // Holds an answer against what is wrong with the message; an error must have its reason's code.
  void ExpectRight(const Complaints& wrong, const grpc::Status& status) {
    const testing::WireError error = testing::ErrorOf(status);
    EXPECT_EQ(testing::JudgeAnswer(wrong, !status.ok(), {error.reason, error.field}), "")
        << error.code << " " << error.message;
    if (status.ok()) return;
    ++seen_[error.reason];
    EXPECT_EQ(error.domain, "talweg");
    for (const core::ReasonRow& row : core::Reasons()) {
      if (row.name != error.reason) continue;
      EXPECT_EQ(static_cast<int>(row.code), static_cast<int>(error.code)) << error.reason;
    }
  }

  // Errors and repeats change nothing; a verdict does.
  void ExpectChanged(bool changed) {
    const v1::Session session = wire_->Get("s");
    EXPECT_EQ(session.version(), model_->version());
    EXPECT_EQ(session.state_checksum() != checksum_, changed);
    checksum_ = session.state_checksum();
  }

  void SendStep(const v1::StepRequest& request) {
    const Complaints wrong = model_->AboutStep(request, testing::Taker::kMessage);
    v1::StepResponse answer;
    const grpc::Status status = wire_->Step(request, &answer);
    ExpectRight(wrong, status);
    if (!status.ok() || !wrong.empty()) return ExpectChanged(false);
    const v1::StepResponse due =
        model_->Take(request.header(), request.reply(), testing::SentIn(request));
    EXPECT_EQ(testing::CompareAnswers(due, answer), "");
    ++seen_[due.replayed() ? "replayed" : v1::Verdict_Name(due.verdict())];
    ExpectChanged(!due.replayed());
    if (model_->exhausted()) Join();
  }

  // A contribution without fault, in one message or over a stream, is applied.
  void ExpectServed(bool streamed) {
    const uint64_t version = model_->version();
    v1::StepRequest request;
    *request.mutable_header() = model_->NextHeader();
    const std::vector<float> gradient(model_->num_elements(), 0.125f);
    v1::Section& section = *request.add_sections();
    section.set_kind(v1::SECTION_KIND_GRADIENT);
    section.set_data(testing::Bytes(gradient));
    if (streamed) {
      WireStream stream(wire_->training());
      v1::StepResponse answer;
      EXPECT_TRUE(stream.Step(request, testing::ChunksOf(gradient, 1 << 18), &answer));
      EXPECT_TRUE(stream.Finish().ok());
      EXPECT_EQ(testing::CompareAnswers(model_->Take(request.header(), request.reply(), {gradient}),
                                        answer),
                "");
      ExpectChanged(true);
    } else {
      SendStep(request);
    }
    EXPECT_EQ(model_->version(), version + 1);
    if (model_->exhausted()) Join();
  }

  // Expects that all of `names` came; each of them comes twenty times in an average run.
  void ExpectSeen(const std::set<std::string>& names) {
    for (const auto& [name, count] : seen_) std::cout << name << " " << count << "\n";
    for (const std::string& name : names) EXPECT_TRUE(seen_.contains(name)) << name;
  }

  // Runs one stream of frames made of `source`, and judges how it ends.
  void SendStream(ByteSource& source);

  const uint64_t seed_ = testing::SeedOfRun();
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<WireClient> wire_;
  std::unique_ptr<SessionModel> model_;
  uint32_t checksum_ = 0;
  testing::Seen seen_;
};

void WireFuzzTest::SendStream(ByteSource& source) {
  const bool cancels = source.Once(16);
  WireStream stream(wire_->training());
  Complaints wrong;  // what the stream ends with
  bool first = true;
  bool open = false;
  bool judged = false;
  v1::StreamHeader header;
  testing::SentVector sent;
  while (!source.empty() && wrong.empty() && !model_->exhausted()) {
    const v1::StreamStepRequest frame = testing::HostileFrame(source, *model_, open, sent);
    wrong = frame.has_header() && !open
                ? model_->AboutHeaderFrame(frame, first, testing::Taker::kStream)
                : testing::AboutFrame(frame, open, sent, model_->num_elements());
    // A client that sends before it is told that it may meets this if the server is slower.
    const bool faulty = !wrong.empty();
    const bool early = open && !stream.granted();
    if (early) wrong.insert({"FRAME_UNEXPECTED", "frame"});
    if (!stream.Write(frame) || faulty) break;
    if (frame.has_header()) {
      first = false;
      open = true;
      header = frame.header();
      sent = {{}, false, header.header().abstain()};
      if (!stream.granted() && !source.Once(8)) {
        ASSERT_TRUE(stream.ReadGrant());
      }
      continue;
    }
    if (early) {
      if (!stream.ReadGrant()) break;
      wrong.clear();
    }
    if (frame.has_chunk()) {
      const testing::SentVector part = testing::SentIn(frame.chunk().section());
      sent.numbers.insert(sent.numbers.end(), part.numbers.begin(), part.numbers.end());
      sent.is_difference = part.is_difference;
      continue;
    }
    open = false;
    for (const auto& [reason, field] : model_->AboutJudgement(header.header(), sent)) {
      wrong.insert({reason, field.empty() ? "" : "header.header." + field});
    }
    if (!wrong.empty()) break;
    v1::StepResponse answer;
    if (!stream.ReadReply(&answer)) {
      const grpc::Status status = stream.Finish();
      FAIL() << "no answer to " << header.ShortDebugString() << ", but " << status.error_code()
             << " " << status.error_message();
    }
    const v1::StepResponse due = model_->Take(header.header(), header.reply(), sent);
    EXPECT_EQ(testing::CompareAnswers(due, answer), "");
    judged = judged || !due.replayed();
    ++seen_[due.replayed() ? "replayed" : v1::Verdict_Name(due.verdict())];
    sent = {};
    if (source.Once(2)) break;
  }
  if (wrong.empty() && open) wrong.insert({"FRAME_UNEXPECTED", "frame"});
  if (cancels) stream.Cancel();
  const grpc::Status status = stream.Finish();
  if (!cancels || testing::ErrorOf(status).code != grpc::StatusCode::CANCELLED) {
    ExpectRight(wrong, status);
  }
  ExpectChanged(judged);
  if (model_->exhausted()) Join();
}

TEST_P(WireFuzzTest, HostileContributionsAreRefusedOrJudgedAndNothingElse) {
  for (uint64_t number = 0; number < 4000; ++number) {
    SCOPED_TRACE("case " + std::to_string(number));
    const std::string bytes = BytesOf(number);
    ByteSource source(bytes);
    const v1::StepRequest request = testing::HostileStep(source, *model_);
    SendStep(request);
    if (number % 50 == 49) ExpectServed(number % 100 == 99);
    ASSERT_FALSE(HasFailure()) << request.ShortDebugString();
  }
  ExpectSeen({"replayed",
              "VERDICT_APPLIED",
              "VERDICT_ABSTAINED",
              "VERDICT_REJECTED_NON_FINITE",
              Late(),
              "SESSION_NOT_FOUND",
              "HISTORY_CHANGED",
              "WORKER_NOT_JOINED",
              "INCARNATION_FENCED",
              "SEQUENCE_TOO_OLD",
              "SEQUENCE_REUSED",
              "VERSION_AHEAD",
              "SECTION_MISSING",
              "SECTION_REPEATED",
              "SECTION_UNEXPECTED",
              "SECTION_SIZE_MISMATCH",
              "REPLY_TOO_LARGE",
              "FIELD_REQUIRED",
              "FIELD_UNKNOWN",
              "FIELD_OUT_OF_RANGE"});
}

TEST_P(WireFuzzTest, HostileStreamsChangeNothingAndLeaveNothing) {
  for (uint64_t number = 0; number < 1000; ++number) {
    SCOPED_TRACE("case " + std::to_string(number));
    const std::string bytes = BytesOf(number);
    ByteSource source(bytes);
    SendStream(source);
    if (number % 50 == 49) ExpectServed(number % 100 == 99);
    ASSERT_FALSE(HasFailure());
  }
  ExpectSeen({"replayed", "VERDICT_APPLIED", "VERDICT_ABSTAINED", "VERDICT_REJECTED_NON_FINITE",
              "SEQUENCE_REUSED", "HISTORY_CHANGED", "SECTION_UNEXPECTED", "FIELD_REQUIRED",
              "FIELD_UNKNOWN", "FIELD_OUT_OF_RANGE", "FRAME_UNEXPECTED", "CHUNK_MISPLACED",
              "CHUNK_CORRUPT"});
}

// One chunk, several blocks, several chunks.
INSTANTIATE_TEST_SUITE_P(Sizes, WireFuzzTest, ::testing::Values(5, kElementsInRounds, 65536 + 3));

}  // namespace
}  // namespace talweg
