// SPDX-License-Identifier: Apache-2.0
//
// The story of proto/README.md, told to a real server: the requests are read from the page, and the
// answers are what it says.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/cpp/talweg/grpc_transport.h"
#include "client/cpp/talweg/status.h"
#include "google/protobuf/util/json_util.h"
#include "tests/support/server_process.h"

namespace talweg {
namespace {

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

class ProtoStoryTest : public ::testing::Test {
 protected:
  ProtoStoryTest() : calls_(CallsOfReadme()) {
    transport_ = ConnectGrpc(server_.address(), 1 << 20, absl::Seconds(10)).value();
  }

  // The request of the page's call number `index`, which is `method`, with the numbers that this
  // server gave in place of the page's.
  template <class Request>
  Request RequestOf(size_t index, const std::string& method) {
    EXPECT_EQ(calls_.at(index).method, method);
    const std::string json = absl::StrReplaceAll(
        calls_.at(index).json,
        // Masks stand there as grpcurl wants them; in protobuf's own JSON a mask is one string.
        {{"{\"paths\": [\"schedule.learning_rate\"]}", "\"schedule.learningRate\""},
         {"\"4711\"", absl::StrCat("\"", history_, "\"")},
         {"\"incarnation\": \"1\"", absl::StrCat("\"incarnation\": \"", incarnation_, "\"")}});
    Request request;
    const auto status = google::protobuf::util::JsonStringToMessage(json, &request);
    EXPECT_TRUE(status.ok()) << method << ": " << status.ToString();
    return request;
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
  ASSERT_EQ(calls_.size(), 7u);
  const auto create = RequestOf<v1::CreateSessionRequest>(0, "CreateSession");
  history_ = Send<v1::CreateSessionResponse>(create).session().history();
  EXPECT_EQ(Send<v1::CreateSessionResponse>(create).session().history(), history_);

  const auto join = RequestOf<v1::JoinRequest>(1, "Join");
  const auto joined = Send<v1::JoinResponse>(join);
  EXPECT_EQ(joined.history(), history_);
  EXPECT_NE(calls_[1].answer.find(absl::StrCat("\"lease_seconds\": \"", joined.lease_seconds())),
            std::string::npos);
  incarnation_ = joined.incarnation();

  auto step = RequestOf<v1::StepRequest>(2, "Step");
  const auto stepped = Send<v1::StepResponse>(step);
  EXPECT_EQ(stepped.verdict(), v1::VERDICT_APPLIED);
  EXPECT_EQ(stepped.applied_version(), 1u);
  ASSERT_EQ(stepped.sections_size(), 1);
  std::string answer;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(stepped.sections(0), &answer).ok());
  const std::string data = answer.substr(answer.find("\"data\""));  // "data":"AAAAPwAAAAA="}
  EXPECT_NE(absl::StrReplaceAll(calls_[2].answer, {{": ", ":"}}).find(data), std::string::npos)
      << answer;

  // The reply is lost.
  const auto replayed = Send<v1::StepResponse>(step);
  EXPECT_TRUE(replayed.replayed());
  EXPECT_EQ(replayed.data_version(), 1u);
  v1::StepRequest changed = step;
  changed.mutable_sections(0)->mutable_data()->at(3) = 0x40;
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
                        return absl::OkStatus();
                      },
                      absl::Seconds(10))
                  .ok());
  EXPECT_EQ(pulled, stepped.sections(0).data());

  const auto updated =
      Send<v1::UpdateSessionResponse>(RequestOf<v1::UpdateSessionRequest>(4, "UpdateSession"));
  EXPECT_EQ(updated.session().config().schedule().learning_rate(), 0.1);
  EXPECT_EQ(updated.session().config_version(), 2u);

  std::vector<v1::StepRecord> records;
  const auto watch = RequestOf<v1::WatchSessionRequest>(5, "WatchSession");
  const absl::Status watched = transport_->Watch(
      watch,
      [&](const v1::WatchSessionResponse& message) {
        EXPECT_EQ(message.history(), history_);
        records.insert(records.end(), message.records().begin(), message.records().end());
        return absl::OkStatus();
      },
      [] { return absl::OkStatus(); }, absl::Seconds(10));
  ASSERT_TRUE(watched.ok()) << watched;
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].report().SerializeAsString(), stepped.report().SerializeAsString());

  const auto erase = RequestOf<v1::DeleteSessionRequest>(6, "DeleteSession");
  Send<v1::DeleteSessionResponse>(erase);
  EXPECT_NE(Send<v1::CreateSessionResponse>(create).session().history(), history_);
  EXPECT_EQ(RefusalOf<v1::StepResponse>(step), "HISTORY_CHANGED");
}

}  // namespace
}  // namespace talweg
