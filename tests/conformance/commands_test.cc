// SPDX-License-Identifier: Apache-2.0
//
// Commands of `talweg` against a real server: a worker's place by hand, and what a watched session
// waits for.
#include <chrono>
#include <cstdio>
#include <future>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/tensor_file.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/conformance/served_test.h"
#include "tests/support/wire_client.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using testing::StepOf;
using testing::VectorSession;

struct Outcome {
  int code = 0;
  std::string out;
  std::string errors;
};

template <class Message>
Message FromJson(const std::string& json) {
  Message message;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &message).ok()) << json;
  return message;
}

class CommandsTest : public testing::ServedTest {
 protected:
  void SetUp() override {
    ServedTest::SetUp();
    v1::CreateSessionRequest request = VectorSession("s", 3);
    request.mutable_config()->mutable_aggregation()->set_mode(v1::AGGREGATION_MODE_SYNCHRONOUS);
    const grpc::Status created = wire_->Create(request);
    ASSERT_TRUE(created.ok()) << created.error_message();
  }

  int Run(std::vector<std::string> words, std::ostream& out, std::ostream& errors) const {
    words.push_back("--server=" + server_->address());
    std::vector<Command> commands = WorkerCommands();
    for (const Command& command : SessionCommands()) commands.push_back(command);
    for (const Command& command : WatchCommands()) commands.push_back(command);
    return RunCommandLine(commands, words, out, errors);
  }
  Outcome Run(const std::string& words) const {
    std::ostringstream out;
    std::ostringstream errors;
    const int code = Run(absl::StrSplit(words, ' '), out, errors);
    return {code, out.str(), errors.str()};
  }

  // Joins, and returns what the server told.
  v1::JoinResponse Join(const std::string& worker) const {
    const Outcome joined = Run("session join s --json --worker " + worker);
    EXPECT_EQ(joined.code, 0) << joined.errors;
    return FromJson<v1::JoinResponse>(joined.out);
  }
  // "session WHAT s" for the place of `worker`.
  Outcome Place(const std::string& what, const std::string& worker, uint64_t incarnation,
                const std::string& more = "") const {
    return Run(absl::StrCat("session ", what, " s --worker ", worker, " --incarnation ",
                            incarnation, more));
  }
  void ExpectRefused(const Outcome& outcome, const std::string& reason) {
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.errors, StartsWith("talweg: " + reason + ": "));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
  uint64_t num_live() { return wire_->Get("s").num_live_workers(); }

  // "a" and "b" join, and "a" contributes to the first round.
  void OpenRound() {
    v1::StepRequest step = StepOf("s", Join("a"), 1, 0, {1, 2, 3});
    Join("b");
    step.mutable_header()->set_worker("a");
    step.mutable_reply()->set_return_pending(true);
    v1::StepResponse response;
    const grpc::Status status = wire_->Step(step, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(response.verdict(), v1::VERDICT_PENDING);
  }
};

TEST_F(CommandsTest, JoinTakesAPlaceAndTellsWhatHeartbeatAndLeaveAskFor) {
  const Outcome shown = Run("session join s --worker a --role gradient");
  EXPECT_EQ(shown.code, 0) << shown.errors;
  EXPECT_THAT(shown.out, StartsWith("worker       a\nincarnation  1\n"));
  EXPECT_THAT(shown.out, HasSubstr(absl::StrCat("history      ", wire_->Get("s").history(), "\n")));
  EXPECT_THAT(shown.out, HasSubstr("version      0\nlease "));
  EXPECT_EQ(num_live(), 1u);
  const v1::JoinResponse other = Join("b");
  EXPECT_EQ(other.incarnation(), 2u);
  EXPECT_EQ(other.history(), wire_->Get("s").history());
  EXPECT_GT(other.lease_seconds(), 0u);
  EXPECT_TRUE(other.replies_wait());
  EXPECT_EQ(num_live(), 2u);
}

TEST_F(CommandsTest, HeartbeatTellsThePlaceAsTheServerHasIt) {
  const v1::JoinResponse joined = Join("a");
  const Outcome shown = Place("heartbeat", "a", joined.incarnation());
  EXPECT_EQ(shown.code, 0) << shown.errors;
  EXPECT_EQ(shown.out,
            absl::StrCat("worker       a\nincarnation  ", joined.incarnation(), "\nhistory      ",
                         joined.history(), "\nversion      0\nlease        ",
                         joined.lease_seconds(), " s\n"));
  const Outcome json = Place("heartbeat", "a", joined.incarnation(), " --json");
  EXPECT_EQ(json.code, 0) << json.errors;
  const auto told = FromJson<v1::HeartbeatResponse>(json.out);
  EXPECT_EQ(told.history(), joined.history());
  EXPECT_EQ(told.lease_seconds(), joined.lease_seconds());
}

TEST_F(CommandsTest, LeaveGivesThePlaceUpOnce) {
  const v1::JoinResponse joined = Join("a");
  const Outcome left = Place("leave", "a", joined.incarnation());
  EXPECT_EQ(left.code, 0) << left.errors;
  EXPECT_THAT(left.out, HasSubstr("\na has left s\n"));
  EXPECT_EQ(num_live(), 0u);
  ExpectRefused(Place("leave", "a", joined.incarnation()), "WORKER_NOT_JOINED");
  ExpectRefused(Place("heartbeat", "a", joined.incarnation()), "WORKER_NOT_JOINED");
  const Outcome json = Place("leave", "b", Join("b").incarnation(), " --json");
  EXPECT_EQ(json.code, 0) << json.errors;
  EXPECT_EQ(json.out, "{}\n");
}

TEST_F(CommandsTest, AFencedIncarnationIsRefusedAndTheNewOneKeepsThePlace) {
  const v1::JoinResponse first = Join("a");
  const v1::JoinResponse second = Join("a");
  ASSERT_GT(second.incarnation(), first.incarnation());
  ExpectRefused(Place("heartbeat", "a", first.incarnation()), "INCARNATION_FENCED");
  ExpectRefused(Place("leave", "a", first.incarnation()), "INCARNATION_FENCED");
  EXPECT_EQ(num_live(), 1u);
  EXPECT_EQ(Place("heartbeat", "a", second.incarnation()).code, 0);
}

TEST_F(CommandsTest, AWorkerThatNeverJoinedHasNoPlace) {
  ExpectRefused(Place("heartbeat", "nobody", 1), "WORKER_NOT_JOINED");
  ExpectRefused(Place("leave", "nobody", 1), "WORKER_NOT_JOINED");
  EXPECT_EQ(num_live(), 0u);
}

TEST_F(CommandsTest, PlacesOfAnotherHistorySessionOrRoleAreRefused) {
  const v1::JoinResponse joined = Join("a");
  for (const char* command : {"heartbeat", "leave"}) {
    ExpectRefused(Place(command, "a", joined.incarnation(), " --history 1"), "HISTORY_CHANGED");
    ExpectRefused(Run(absl::StrCat("session ", command, " other --incarnation 1")),
                  "SESSION_NOT_FOUND");
  }
  ExpectRefused(Run("session join other"), "SESSION_NOT_FOUND");
  ExpectRefused(Run("session join s --role search"), "WRONG_METHOD");
  EXPECT_EQ(num_live(), 1u);
}

// 68 MiB: no message holds them.
TEST_F(CommandsTest, CreateTakesAFileOfAnySize) {
  v1::Layout layout;
  for (const uint64_t rows : {uint64_t{16} << 10, uint64_t{1} << 10}) {
    v1::Tensor& tensor = *layout.add_tensors();
    tensor.set_name(absl::StrCat("w", rows));
    tensor.add_shape(rows);
    tensor.add_shape(1024);
  }
  std::vector<float> values(uint64_t{17} << 20);
  for (size_t index = 0; index < values.size(); ++index) {
    values[index] = static_cast<float>(index) * 0x1p-20f;
  }
  for (const std::string ending : {"npy", "npz"}) {
    const std::string path = absl::StrCat(::testing::TempDir(), "/large_initial.", ending);
    ASSERT_TRUE(WriteTensors(path, layout, values).ok());
    std::ostringstream out;
    std::ostringstream errors;
    const int code =
        Run({"session", "create", ending, "--layout", "w16384:16384,1024 w1024:1024,1024",
             "--optimizer", "gradient_descent", "--learning_rate", "0.5", "--initial", path},
            out, errors);
    std::remove(path.c_str());
    ASSERT_EQ(code, 0) << errors.str();
    EXPECT_THAT(out.str(), HasSubstr(ending));
    v1::PullRequest pull;
    pull.set_session_id(ending);
    std::vector<float> pulled;
    ASSERT_TRUE(wire_->Pull(pull, &pulled).ok());
    EXPECT_TRUE(pulled == values) << ending;
  }
}

TEST_F(CommandsTest, AWatchThatFollowsNothingTellsTheOpenRoundAtItsEnd) {
  EXPECT_EQ(Run("session watch s --once").out, "");
  OpenRound();
  const Outcome line = Run("session watch s --once");
  EXPECT_EQ(line.code, 0) << line.errors;
  EXPECT_THAT(line.out,
              StartsWith("waiting  round 1: 1 of 2 contributed (a), expected: b, since "));
  EXPECT_THAT(line.out, ::testing::EndsWith(", closes when all have contributed\n"));
  const Outcome json = Run("session watch s --once --json");
  EXPECT_EQ(json.code, 0) << json.errors;
  const auto round = FromJson<v1::OpenRound>(json.out);
  EXPECT_EQ(round.version(), 1u);
  EXPECT_EQ(round.close(), v1::CLOSE_RULE_ALL);
  EXPECT_THAT(round.expected().names(), ::testing::ElementsAre("b"));
}

// The text that a command has written, for a test that waits for a line of it.
class FlushedText : public std::stringbuf {
 public:
  // Ready once a line begins with "waiting".
  std::future<void> Waiting() { return waiting_.get_future(); }

 protected:
  int sync() override {
    if (!told_ && str().find("waiting") != std::string::npos) {
      told_ = true;
      waiting_.set_value();
    }
    return std::stringbuf::sync();
  }

 private:
  std::promise<void> waiting_;
  bool told_ = false;
};

TEST_F(CommandsTest, AWatchThatSeesNoStepForASecondTellsTheOpenRoundOnce) {
  OpenRound();
  FlushedText text;
  std::ostream out(&text);
  std::ostringstream errors;
  std::future<void> waiting = text.Waiting();
  int code = 0;
  std::thread watcher([&] { code = Run({"session", "watch", "s"}, out, errors); });
  waiting.wait();
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // two more questions, no news
  v1::DeleteSessionRequest request;
  request.set_session_id("s");
  v1::DeleteSessionResponse response;
  grpc::ClientContext context;
  EXPECT_TRUE(wire_->sessions().DeleteSession(&context, request, &response).ok());
  watcher.join();
  EXPECT_EQ(code, 1);
  EXPECT_THAT(errors.str(), HasSubstr("SESSION_DELETED"));
  const std::vector<std::string> lines = absl::StrSplit(text.str(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 1u) << text.str();
  EXPECT_THAT(lines[0],
              StartsWith("waiting  round 1: 1 of 2 contributed (a), expected: b, since "));
}

}  // namespace
}  // namespace talweg
