// SPDX-License-Identifier: Apache-2.0
#include "client/cli/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_split.h"
#include "client/cpp/talweg/fake_transport.h"

namespace talweg {
namespace {

using ::testing::HasSubstr;

std::vector<Command> TestCommands() {
  return {
      {"session get",
       "ID",
       "Describe",
       "",
       {{"checksum", "", "with its checksum"}},
       [](const Arguments& arguments, std::ostream& out) {
         out << "got " << arguments.positional(0) << "\n";
         return absl::OkStatus();
       }},
      {"session drop",
       "",
       "Drop",
       "",
       {},
       [](const Arguments&, std::ostream&) {
         return ServerError(absl::StatusCode::kNotFound, "SESSION_NOT_FOUND", "session_id");
       }},
      {"step",
       "",
       "Step",
       "",
       {},
       [](const Arguments&, std::ostream&) { return UsageError("--gradient is needed"); }},
      {"experiment",
       "",
       "Run",
       "",
       {},
       [](const Arguments&, std::ostream&) { return absl::CancelledError("stopped"); }},
  };
}

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

Outcome RunWords(const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream errors;
  const int code = RunCommandLine(TestCommands(), words, out, errors);
  return {code, out.str(), errors.str()};
}

TEST(CommandTest, RunsTheCommandThatIsNamed) {
  const Outcome outcome = RunWords({"session", "get", "mlp"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "got mlp\n");
  EXPECT_EQ(outcome.errors, "");
}

TEST(CommandTest, ErrorsAreOneLineWithReasonAndFieldAndCodeOne) {
  const Outcome outcome = RunWords({"session", "drop"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.errors, "talweg: SESSION_NOT_FOUND: SESSION_NOT_FOUND (session_id)\n");
}

TEST(CommandTest, UsageErrorsPointToTheHelpAndHaveCodeTwo) {
  EXPECT_EQ(RunWords({"step"}).code, 2);
  EXPECT_EQ(RunWords({"step"}).errors,
            "talweg step: --gradient is needed; see talweg step --help\n");
  EXPECT_EQ(RunWords({"session", "get"}).code, 2);
  EXPECT_EQ(RunWords({"session", "get", "a", "--nope"}).code, 2);
  EXPECT_EQ(RunWords({"sesion"}).code, 2);
  EXPECT_EQ(RunWords({"session", "gett"}).code, 2);
  EXPECT_EQ(RunWords({}).code, 2);
  EXPECT_EQ(RunWords({"session"}).code, 2);
}

TEST(CommandTest, StoppedHasTheCodeOfCtrlC) { EXPECT_EQ(RunWords({"experiment"}).code, 130); }

TEST(CommandTest, HelpAtEveryLevel) {
  for (const std::string word : {"--help", "-h", "help"}) {
    const Outcome all = RunWords({word});
    EXPECT_EQ(all.code, 0);
    EXPECT_THAT(all.out, HasSubstr("talweg session get ID  Describe"));
    EXPECT_THAT(all.out, HasSubstr("talweg step"));
  }
  const Outcome group = RunWords({"session", "--help"});
  EXPECT_EQ(group.code, 0);
  EXPECT_THAT(group.out, HasSubstr("talweg session get ID"));
  EXPECT_THAT(group.out, ::testing::Not(HasSubstr("talweg step")));
  const Outcome one = RunWords({"session", "get", "--help"});
  EXPECT_EQ(one.code, 0);
  EXPECT_THAT(one.out, HasSubstr("--checksum  with its checksum"));
  EXPECT_THAT(one.out, HasSubstr("--server HOST:PORT"));
}

TEST(CommandTest, EveryCommandOfTheProgramHasAHelpOfItsOwn) {
  std::vector<Command> commands = SessionCommands();
  for (const auto& more : {WatchCommands(), TensorCommands(), ExperimentCommands()}) {
    commands.insert(commands.end(), more.begin(), more.end());
  }
  for (const Command& command : commands) {
    std::vector<std::string> words = absl::StrSplit(command.name, ' ');
    words.push_back("--help");
    std::ostringstream out;
    std::ostringstream errors;
    EXPECT_EQ(RunCommandLine(commands, words, out, errors), 0) << command.name;
    EXPECT_THAT(out.str(), HasSubstr("talweg " + command.name));
    EXPECT_THAT(out.str(), HasSubstr(command.summary));
  }
}

}  // namespace
}  // namespace talweg
