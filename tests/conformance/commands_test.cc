// SPDX-License-Identifier: Apache-2.0
//
// Commands of `talweg` against a real server: a worker's place by hand, and what a watched session
// waits for.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <future>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/command.h"
#include "client/cli/tensor_file.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "server/calls/doorkeeper.h"
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
    for (const auto& more : {WatchCommands(), SessionCommands(), TensorCommands()}) {
      commands.insert(commands.end(), more.begin(), more.end());
    }
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

TEST_F(CommandsTest, CreateSaysThatADefaultSessionIsForOneWorker) {
  const std::string made = " --layout w:2 --optimizer adam --learning_rate 0.1 --init w=normal";
  constexpr const char* kWord = "for one worker: ";
  EXPECT_THAT(Run("session create a" + made).out, HasSubstr(kWord));
  EXPECT_THAT(Run("session create b --dry_run" + made).out, HasSubstr(kWord));
  for (const char* fleet :
       {" --max_staleness 1", " --aggregation mode=SYNCHRONOUS",
        " --aggregation mode=BOUNDED_STALENESS", " --aggregation max_workers=1", " --json"}) {
    const Outcome created = Run("session create c --dry_run" + made + fleet);
    EXPECT_EQ(created.code, 0) << created.errors;
    EXPECT_THAT(created.out, Not(HasSubstr(kWord))) << fleet;
  }
}

TEST_F(CommandsTest, GetTellsTheDigestOfASmallSessionUnasked) {
  const std::string small = Run("session get s").out;
  EXPECT_THAT(small, HasSubstr("state digest"));
  EXPECT_THAT(small, HasSubstr("talweg.state.v1"));
  ASSERT_TRUE(wire_->Create(VectorSession("large", (1 << 20) + 1)).ok());
  const std::string large = Run("session get large").out;
  EXPECT_THAT(large, Not(HasSubstr("talweg.state.v1")));
  EXPECT_THAT(large, HasSubstr("--digest"));
  EXPECT_THAT(Run("session get large --digest").out, HasSubstr("talweg.state.v1"));
  const auto json = FromJson<v1::Session>(Run("session get s --json").out);
  EXPECT_EQ(json.state_digest().vectors_size(), 1);
}

// Before the next update is looked at, lets another one overtake it.
class Overtaker final : public server::Doorkeeper {
 public:
  explicit Overtaker(std::function<void()> overtake) : overtake_(std::move(overtake)) {}
  absl::Status Admit(const server::CallFacts& call) override {
    const bool is_update = call.method == "talweg.v1.SessionService/UpdateSession";
    if (is_update && !has_overtaken_.exchange(true)) overtake_();
    return absl::OkStatus();
  }

 private:
  const std::function<void()> overtake_;
  std::atomic<bool> has_overtaken_ = false;
};

TEST_F(CommandsTest, AnUpdateUndoesNothingThatCameAfterWhatItHasSeen) {
  server::ServerOptions options;
  Overtaker overtaker([this] {
    v1::UpdateSessionRequest request;
    request.set_session_id("s");
    request.mutable_config()->mutable_schedule()->set_learning_rate(0.125);
    request.mutable_update_mask()->add_paths("schedule.learning_rate");
    v1::UpdateSessionResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(wire_->sessions().UpdateSession(&context, request, &response).ok());
  });
  options.doorkeepers = {&overtaker};
  Start(options);
  EXPECT_TRUE(wire_->Create(VectorSession("s", 3)).ok());
  ExpectRefused(Run("session update s --learning_rate 0.25"), "CONFIG_CHANGED");
  EXPECT_EQ(wire_->Get("s").config().schedule().learning_rate(), 0.125);
  EXPECT_EQ(Run("session update s --learning_rate 0.25 --digest_every 3").code, 0);
  EXPECT_EQ(wire_->Get("s").config().schedule().learning_rate(), 0.25);
  EXPECT_EQ(wire_->Get("s").config().digests().every_steps(), 3u);
  server_.reset();  // before the doorkeeper goes
}

TEST_F(CommandsTest, PullAndStepSayWhatTheDtypeDoesNotReach) {
  v1::CreateSessionRequest create = VectorSession("big", 2);
  v1::Tensor& tensor = *create.mutable_config()->mutable_layout()->add_tensors();
  tensor.set_name("b");
  tensor.add_shape(2);
  v1::Section& initial = *create.mutable_initial_values()->mutable_uploaded();
  initial.set_kind(v1::SECTION_KIND_PARAMETERS);
  for (const float value : {1, 2, 3, 70000}) initial.add_values(value);
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::string file = ::testing::TempDir() + "talweg_overflow.npy";
  const std::string told =
      "1 parameter is finite on the server and infinite in this dtype, first "
      "element 1 of tensor b";
  const Outcome pulled = Run("pull big --dtype float16 --output " + file);
  EXPECT_EQ(pulled.code, 1);
  EXPECT_THAT(pulled.out, HasSubstr("4 elements of version 0"));
  EXPECT_THAT(pulled.errors, HasSubstr(told));
  const auto json =
      FromJson<v1::PullResponse>(Run("pull big --dtype float16 --json --output " + file).out);
  EXPECT_EQ(json.num_overflowed(), 1u);
  EXPECT_EQ(json.first_overflowed(), 3u);
  EXPECT_EQ(Run("pull big --dtype bfloat16 --output " + file).code, 0);
  // A gradient of zeros.
  ASSERT_TRUE(wire_->Create(VectorSession("zeros", 4)).ok());
  ASSERT_EQ(Run("pull zeros --output " + file).code, 0);
  const Outcome stepped =
      Run("step big --dtype float16 --gradient " + file + " --output " + file + ".out.npy");
  EXPECT_EQ(stepped.code, 1);
  EXPECT_THAT(stepped.out, HasSubstr("APPLIED"));
  EXPECT_THAT(stepped.errors, HasSubstr("the step was taken, but " + told));
  EXPECT_EQ(Run("step big --gradient " + file + " --output " + file + ".out.npy").code, 0);
}

// A session whose version 1 is not finite: the update is larger than the largest float32.
TEST_F(CommandsTest, PullAndStepSayThatParametersAreNotFinite) {
  v1::CreateSessionRequest create = VectorSession("gone", 2);
  v1::Tensor& tensor = *create.mutable_config()->mutable_layout()->add_tensors();
  tensor.set_name("b");
  tensor.add_shape(2);
  create.mutable_config()->mutable_schedule()->set_learning_rate(10);
  ASSERT_TRUE(wire_->Create(create).ok());
  const std::string file = ::testing::TempDir() + "talweg_not_finite.npy";
  const std::string output = file + ".out.npy";
  ASSERT_TRUE(WriteTensors(file, create.config().layout(), {0, 0, 0, -3e38f}).ok());
  EXPECT_EQ(Run("pull gone --output " + output).code, 0);
  const std::string told = "not finite, first element 1 of tensor b: go back to older parameters";
  const Outcome made = Run("step gone --gradient " + file);
  EXPECT_EQ(made.code, 1);
  EXPECT_THAT(made.errors, HasSubstr("version 1 has 1 parameter that is " + told));

  const auto expect_told = [&](const Outcome& outcome, bool writes) {
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    EXPECT_THAT(outcome.errors, HasSubstr("not finite on the server, first element 1 of tensor b "
                                          "(inf): go back to older parameters"));
    absl::StatusOr<TensorFile> opened = TensorFile::Open(output);
    EXPECT_EQ(opened.ok(), writes) << outcome.out;
    if (writes) {
      EXPECT_THAT(*opened->Read(create.config().layout()), ::testing::Contains(INFINITY));
    }
    std::remove(output.c_str());
  };
  expect_told(Run("pull gone --output " + output), true);
  expect_told(Run("pull gone --dtype float16 --json --output " + output), true);
  expect_told(Run("step gone --abstain --output " + output), true);
  const Outcome refused =
      Run("step gone --gradient " + file + " --base_version 0 --output " + output);
  EXPECT_THAT(refused.errors, HasSubstr("the contribution was refused: TOO_STALE; "));
  expect_told(refused, false);
}

}  // namespace
}  // namespace talweg
