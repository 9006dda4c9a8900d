// SPDX-License-Identifier: Apache-2.0
//
// The story of proto/README.md, told to a real server: the requests are read from the page, and the
// answers are what it shows, in the form that grpcurl prints.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/cpp/talweg/grpc_transport.h"
#include "client/cpp/talweg/status.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

constexpr const char* kCut = "…";  // what the page leaves out

// One call as the page shows it.
struct Call {
  std::string method;
  std::string json;
  std::string answer;  // the comment below it
};

std::vector<Call> CallsOfReadme() {
  std::ifstream file(TALWEG_PROTO_README);
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  const std::regex call(
      R"(-d '([^']*)'[^`]*?127\.0\.0\.1:50551 talweg\.v1\.\w+/(\w+)\n((?:#[^\n]*\n)*))");
  std::vector<Call> calls;
  for (std::sregex_iterator found(page.begin(), page.end(), call), end; found != end; ++found) {
    calls.push_back({(*found)[2], (*found)[1], (*found)[3]});
  }
  return calls;
}

// Whether `real` is what `shown` says: equal, but that an object of the page with a member "…" may
// leave some out.
bool IsShown(const nlohmann::json& shown, const nlohmann::json& real) {
  if (shown.is_array() && real.is_array()) {
    return std::equal(shown.begin(), shown.end(), real.begin(), real.end(), IsShown);
  }
  if (!shown.is_object() || !real.is_object()) return shown == real;
  const bool cut = shown.contains(kCut);
  if (!cut && shown.size() != real.size()) return false;
  return std::all_of(shown.items().begin(), shown.items().end(), [&](const auto& member) {
    return member.key() == kCut ||
           (real.contains(member.key()) && IsShown(member.value(), real[member.key()]));
  });
}

class ProtoStoryTest : public ::testing::Test {
 protected:
  ProtoStoryTest() : calls_(CallsOfReadme()) {
    transport_ = ConnectGrpc(server_.address(), 1 << 20, absl::Seconds(10)).value();
  }

  // With the numbers that this server gave in place of the page's.
  std::string WithNumbers(absl::string_view json) const {
    return absl::StrReplaceAll(
        json,
        // Masks stand there as grpcurl wants them; in protobuf's own JSON a mask is one string.
        {{"{\"paths\": [\"schedule.learning_rate\"]}", "\"schedule.learningRate\""},
         {"\"4711\"", absl::StrCat("\"", history_, "\"")},
         {"\"incarnation\": \"1\"", absl::StrCat("\"incarnation\": \"", incarnation_, "\"")}});
  }

  // The request of the page's call number `index`, which is `method`.
  template <class Request>
  Request RequestOf(size_t index, const std::string& method) {
    EXPECT_EQ(calls_.at(index).method, method);
    const std::string json = WithNumbers(calls_.at(index).json);
    Request request;
    const auto status = google::protobuf::util::JsonStringToMessage(json, &request);
    EXPECT_TRUE(status.ok()) << method << ": " << status.ToString();
    return request;
  }

  // Compares `response` with what the page shows below call number `index`. By reflection grpcurl
  // prints the proto's names, and no field at its default; so does protobuf.
  void ExpectShown(size_t index, const google::protobuf::Message& response) {
    ExpectShown(calls_.at(index).answer, response);
  }
  void ExpectShown(const std::string& answer, const google::protobuf::Message& response) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    std::string real;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(response, &real, options).ok());
    const std::string shown =
        absl::StrReplaceAll(answer, {{"#", ""},
                                     {kCut, absl::StrCat("\"", kCut, "\": true")},
                                     {"\"4711\"", absl::StrCat("\"", history_, "\"")}});
    EXPECT_TRUE(IsShown(nlohmann::json::parse(shown), nlohmann::json::parse(real)))
        << "shown: " << shown << "\nreal: " << real;
  }

  // Sends it, and expects success.
  template <class Response, class Request>
  Response Send(const Request& request) {
    Response response;
    const absl::Status status = transport_->Call(request, response, absl::Seconds(10));
    EXPECT_TRUE(status.ok()) << status;
    return response;
  }

  template <class Response, class Request>
  std::string RefusalOf(const Request& request) {
    Response response;
    return ReasonOf(transport_->Call(request, response, absl::Seconds(10)));
  }

  testing::ServerProcess server_;
  std::vector<Call> calls_;
  std::unique_ptr<Transport> transport_;
  uint64_t history_ = 0;
  uint64_t incarnation_ = 0;
};

TEST_F(ProtoStoryTest, GoesAsThePageTells) {
  ASSERT_EQ(calls_.size(), 16u);
  const auto create = RequestOf<v1::CreateSessionRequest>(0, "CreateSession");
  const auto created = Send<v1::CreateSessionResponse>(create);
  history_ = created.session().history();
  ExpectShown(0, created);
  EXPECT_EQ(Send<v1::CreateSessionResponse>(create).session().history(), history_);

  const auto join = RequestOf<v1::JoinRequest>(1, "Join");
  const auto joined = Send<v1::JoinResponse>(join);
  EXPECT_EQ(joined.history(), history_);
  ExpectShown(1, joined);
  incarnation_ = joined.incarnation();

  auto step = RequestOf<v1::StepRequest>(2, "Step");
  const auto stepped = Send<v1::StepResponse>(step);
  EXPECT_EQ(stepped.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(stepped.applied_version(), 1u);
  ASSERT_EQ(stepped.sections_size(), 1);
  ExpectShown(2, stepped);

  // The reply is lost.
  const auto replayed = Send<v1::StepResponse>(step);
  EXPECT_TRUE(replayed.replayed());
  EXPECT_EQ(replayed.data_version(), 1u);
  v1::StepRequest changed = step;
  changed.mutable_sections(0)->set_values(0, 3);
  EXPECT_EQ(RefusalOf<v1::StepResponse>(changed), "SEQUENCE_REUSED");

  // The worker dies.
  EXPECT_GT(Send<v1::JoinResponse>(join).incarnation(), incarnation_);
  step.mutable_header()->set_sequence(2);
  EXPECT_EQ(RefusalOf<v1::StepResponse>(step), "INCARNATION_FENCED");

  std::string pulled;
  const auto pull = RequestOf<v1::PullRequest>(3, "Pull");
  ASSERT_TRUE(transport_
                  ->Pull(
                      pull,
                      [&](const v1::PullResponse& message) {
                        pulled += message.section().data();
                        ExpectShown(3, message);
                        return absl::OkStatus();
                      },
                      [] { return absl::OkStatus(); }, absl::Seconds(10))
                  .ok());
  EXPECT_EQ(pulled, stepped.sections(0).data());

  // A stream, frame by frame. By now another process is the worker.
  EXPECT_EQ(calls_[4].method, "StreamStep");
  incarnation_ = Send<v1::JoinResponse>(join).incarnation();
  const std::unique_ptr<StepStream> stream = transport_->OpenStepStream();
  std::vector<v1::StreamStepResponse> answers;
  const auto next = [&] {
    const StreamEvent event = stream->Next(absl::Seconds(10));
    EXPECT_TRUE(event.kind == StreamEvent::Kind::kWritten ||
                event.kind == StreamEvent::Kind::kFrame)
        << event.status;
    if (event.kind == StreamEvent::Kind::kFrame) {
      answers.push_back(stream->frame());
      std::string& data = *answers.back().mutable_chunk()->mutable_section()->mutable_data();
      data.resize(stream->data_size());
      stream->CopyData(data.data());
      if (!stream->frame().has_chunk()) answers.back() = stream->frame();
    }
    return event.kind;
  };
  for (absl::string_view json : absl::StrSplit(calls_[4].json, "\n  {", absl::SkipWhitespace())) {
    v1::StreamStepRequest frame;
    const std::string whole = absl::StrCat("{", WithNumbers(json));
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(whole, &frame).ok()) << whole;
    stream->Write(frame);
    while (next() == StreamEvent::Kind::kFrame) {
    }
  }
  const std::vector<std::string> shown =
      absl::StrSplit(calls_[4].answer, '\n', absl::SkipWhitespace());
  ASSERT_EQ(shown.size(), 3u);
  while (answers.size() < shown.size() + 1 && next() != StreamEvent::Kind::kTimeout) {
  }
  // This client has not half-closed, as grpcurl has, so it gets the grant of the next contribution.
  EXPECT_TRUE(answers.at(1).has_grant());
  answers.erase(answers.begin() + 1);
  for (size_t index = 0; index < shown.size(); ++index) {
    ExpectShown(shown[index], answers.at(index));
  }

  const auto updated =
      Send<v1::UpdateSessionResponse>(RequestOf<v1::UpdateSessionRequest>(5, "UpdateSession"));
  EXPECT_EQ(updated.session().config().schedule().learning_rate(), 0.1);
  EXPECT_EQ(updated.session().config_version(), 2u);
  ExpectShown(5, updated);

  std::vector<v1::StepRecord> records;
  const auto watch = RequestOf<v1::WatchSessionRequest>(6, "WatchSession");
  const absl::Status watched = transport_->Watch(
      watch,
      [&](const v1::WatchSessionResponse& message) {
        EXPECT_EQ(message.history(), history_);
        records.insert(records.end(), message.records().begin(), message.records().end());
        return absl::OkStatus();
      },
      [] { return absl::OkStatus(); }, absl::Seconds(10));
  ASSERT_TRUE(watched.ok()) << watched;
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].report().SerializeAsString(), stepped.report().SerializeAsString());

  const auto erase = RequestOf<v1::DeleteSessionRequest>(7, "DeleteSession");
  ExpectShown(7, Send<v1::DeleteSessionResponse>(erase));
  EXPECT_NE(Send<v1::CreateSessionResponse>(create).session().history(), history_);
  EXPECT_EQ(RefusalOf<v1::StepResponse>(step), "HISTORY_CHANGED");
}

TEST_F(ProtoStoryTest, AFleetMakesAVersionAsThePageTells) {
  ASSERT_EQ(calls_.size(), 16u);
  const auto created =
      Send<v1::CreateSessionResponse>(RequestOf<v1::CreateSessionRequest>(8, "CreateSession"));
  history_ = created.session().history();
  auto step = RequestOf<v1::StepRequest>(2, "Step");
  step.mutable_header()->set_session_id("fleet");
  step.mutable_header()->set_history(history_);
  step.mutable_reply()->set_return_pending(true);
  v1::StepResponse last;
  for (const char* worker : {"a", "b"}) {
    v1::JoinRequest join;
    join.set_session_id("fleet");
    join.set_worker(worker);
    const auto joined = Send<v1::JoinResponse>(join);
    EXPECT_TRUE(joined.replies_wait());
    step.mutable_header()->set_worker(worker);
    step.mutable_header()->set_incarnation(joined.incarnation());
    last = Send<v1::StepResponse>(step);
    EXPECT_EQ(last.verdict(), *worker == 'a' ? v1::VERDICT_PENDING : v1::VERDICT_APPLIED);
  }
  EXPECT_EQ(last.report().contributors(), 2u);
  ExpectShown(9, Send<v1::ListVersionRecordsResponse>(
                     RequestOf<v1::ListVersionRecordsRequest>(9, "ListVersionRecords")));
}

TEST_F(ProtoStoryTest, ASearchMakesAVersionAsThePageTells) {
  const auto created =
      Send<v1::CreateSessionResponse>(RequestOf<v1::CreateSessionRequest>(11, "CreateSession"));
  history_ = created.session().history();
  const auto joined = Send<v1::JoinResponse>(RequestOf<v1::JoinRequest>(12, "Join"));
  incarnation_ = joined.incarnation();
  const auto go_on = [] { return absl::OkStatus(); };
  v1::AskResponse asked;
  const absl::Status leased =
      transport_->Wait(RequestOf<v1::AskRequest>(13, "Ask"), asked, go_on, absl::Seconds(10));
  ASSERT_TRUE(leased.ok()) << leased;
  ExpectShown(13, asked);
  v1::TellResponse told;
  const absl::Status taken =
      transport_->Wait(RequestOf<v1::TellRequest>(14, "Tell"), told, go_on, absl::Seconds(10));
  ASSERT_TRUE(taken.ok()) << taken;
  ExpectShown(14, told);
  std::vector<v1::WatchGenerationsResponse> messages;
  const absl::Status watched = transport_->WatchGenerations(
      RequestOf<v1::WatchGenerationsRequest>(15, "WatchGenerations"),
      [&](const v1::WatchGenerationsResponse& message) {
        messages.push_back(message);
        return absl::OkStatus();
      },
      go_on, absl::Seconds(10));
  ASSERT_TRUE(watched.ok()) << watched;
  ASSERT_EQ(messages.size(), 1u);
  ExpectShown(15, messages[0]);
}

TEST_F(ProtoStoryTest, AnUploadMakesASessionAsThePageTells) {
  ASSERT_EQ(calls_.size(), 16u);
  EXPECT_EQ(calls_[10].method, "UploadSession");
  std::vector<v1::UploadSessionRequest> frames;
  for (absl::string_view json : absl::StrSplit(calls_[10].json, "\n  {", absl::SkipWhitespace())) {
    const std::string whole = absl::StrCat("{", json);
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(whole, &frames.emplace_back()).ok())
        << whole;
  }
  ASSERT_EQ(frames.size(), 3u);
  const std::vector<std::string> shown =
      absl::StrSplit(calls_[10].answer, '\n', absl::SkipWhitespace());
  ASSERT_EQ(shown.size(), 2u);
  v1::UploadSessionResponse granted;
  v1::UploadSessionResponse answer;
  size_t next = 1;
  const absl::Status uploaded = transport_->UploadSession(
      frames[0].create(),
      [&](const v1::UploadGrant& grant) {
        *granted.mutable_grant() = grant;
        ExpectShown(shown[0], granted);
        return absl::OkStatus();
      },
      [&](v1::UploadSessionRequest& frame) {
        if (next == frames.size()) return false;
        frame = frames[next++];
        return true;
      },
      *answer.mutable_created(), absl::Seconds(10));
  ASSERT_TRUE(uploaded.ok()) << uploaded;
  history_ = answer.created().session().history();
  ExpectShown(shown[1], answer);
}

}  // namespace
}  // namespace talweg
