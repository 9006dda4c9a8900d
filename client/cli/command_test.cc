// SPDX-License-Identifier: Apache-2.0
#include "client/cli/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/npy_testing.h"
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
       [](const Arguments&, std::ostream&) { return absl::CancelledError("stopped; and more"); }},
  };
}

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

Outcome RunWords(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  std::ostringstream out;
  std::ostringstream errors;
  const int code = RunCommandLine(commands, words, out, errors);
  return {code, out.str(), errors.str()};
}

Outcome RunWords(const std::vector<std::string>& words) { return RunWords(TestCommands(), words); }

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

TEST(CommandTest, FlagsBeforeTheCommandAreToldWhereTheyBelong) {
  const Outcome outcome = RunWords({"--server=127.0.0.1:1", "session", "get", "a"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.errors,
            "talweg: flags come behind the command: talweg COMMAND --server=127.0.0.1:1 ...; see "
            "talweg --help\n");
}

TEST(CommandTest, TellsItsVersion) {
  const Outcome outcome = RunWords({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "talweg " TALWEG_VERSION "\n");
  EXPECT_EQ(RunWords({"--version", "step"}).code, 2);
}

TEST(CommandTest, StoppedHasTheCodeOfCtrlC) {
  const Outcome outcome = RunWords({"experiment"});
  EXPECT_EQ(outcome.code, 130);
  EXPECT_EQ(outcome.errors, "talweg: stopped; and more\n");
}

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

// The commands of the program itself.
std::vector<Command> AllCommands() {
  std::vector<Command> commands = SessionCommands();
  for (const auto& more :
       {WorkerCommands(), WatchCommands(), TensorCommands(), ExperimentCommands()}) {
    commands.insert(commands.end(), more.begin(), more.end());
  }
  return commands;
}

// Runs one of them, with no server there.
Outcome RunProgram(const std::vector<std::string>& words) { return RunWords(AllCommands(), words); }

std::string HelpOf(const Command& command) {
  std::vector<std::string> words = absl::StrSplit(command.name, ' ');
  words.push_back("--help");
  const Outcome outcome = RunProgram(words);
  EXPECT_EQ(outcome.code, 0) << command.name;
  return outcome.out;
}

TEST(CommandTest, StepReadsItsGradientBeforeItCallsTheServer) {
  const Outcome outcome = RunProgram(
      {"step", "mlp", "--gradient", "/no/such.npy", "--server", "127.0.0.1:1", "--timeout", "60"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.errors, "talweg: cannot open /no/such.npy\n");
}

TEST(CommandTest, StepAndPullTryTheirOutputBeforeTheyCallTheServer) {
  const std::string gradient = ::testing::TempDir() + "/gradient.npy";
  ASSERT_TRUE(testing::WriteContents(gradient, testing::FormatNpy({1.0f})));
  const std::string server = "--server=127.0.0.1:1";
  const std::string there = ::testing::TempDir() + "/there.npy";
  ASSERT_TRUE(testing::WriteContents(there, testing::FormatNpy({7.0f})));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"step", "a", server, "--gradient", gradient},
        {"pull", "a", server}}) {
    std::vector<std::string> wrong = words;
    wrong.insert(wrong.end(), {"--output", "/no/such.npy", "--timeout", "60"});
    const Outcome outcome = RunProgram(wrong);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.errors, "talweg: cannot write /no/such.npy\n");
    // A good name is left as it was.
    const std::string fresh = ::testing::TempDir() + "/fresh.npy";
    for (const std::string& name : {fresh, there}) {
      std::vector<std::string> right = words;
      right.insert(right.end(), {"--output", name, "--timeout", "0.01"});
      EXPECT_THAT(RunProgram(right).errors, HasSubstr("no talweg-server answers"));
    }
    EXPECT_FALSE(std::ifstream(fresh).is_open());
    EXPECT_EQ(testing::Contents(there), testing::FormatNpy({7.0f}));
  }
}

TEST(CommandTest, AServerWithoutAPortIsRefusedAtOnce) {
  for (const std::string server :
       {"127.0.0.1", "localhost", "", ":50551", "localhost:", "localhost:http", "localhost:0",
        "localhost:65536", "::1", "fe80::1", "[::1]", "127.0.0.1:50551:"}) {
    const Outcome outcome = RunProgram({"session", "list", "--server=" + server});
    EXPECT_EQ(outcome.code, 2) << server;
    EXPECT_EQ(outcome.errors, "talweg session list: --server is \"" + server +
                                  "\", expected HOST:PORT; see talweg session list --help\n");
  }
  for (const std::string server : {"http://127.0.0.1:50551", "https://localhost:1", "grpc://a:1",
                                   "127.0.0.1:50551/", "a/b:1", "http://127.0.0.1"}) {
    const Outcome outcome = RunProgram({"session", "list", "--server=" + server});
    EXPECT_EQ(outcome.code, 2) << server;
    EXPECT_THAT(outcome.errors,
                HasSubstr("--server is \"" + server +
                          "\", expected HOST:PORT, such as "
                          "127.0.0.1:50551, without http:// in front or a path behind"));
  }
  setenv("TALWEG_SERVER", "127.0.0.1", 1);
  EXPECT_THAT(RunProgram({"session", "list"}).errors,
              HasSubstr("$TALWEG_SERVER is \"127.0.0.1\", expected HOST:PORT"));
  unsetenv("TALWEG_SERVER");
  for (const std::string server : {"127.0.0.1:1", "[::1]:1", "dns:///localhost:1"}) {
    const Outcome outcome = RunProgram({"session", "list", "--server=" + server, "--timeout=0.01"});
    EXPECT_EQ(outcome.code, 1) << server;
    EXPECT_THAT(outcome.errors, HasSubstr("talweg: no talweg-server answers at " + server));
  }
}

TEST(CommandTest, AConfigurationFileIsToldWhatIsWrongInOneLine) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/talweg_config_", getpid());
  const auto complaint = [&](const std::string& json) {
    std::ofstream(path) << json;
    const Outcome outcome = RunProgram({"session", "create", "a", "--config", path});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
    EXPECT_THAT(outcome.errors, ::testing::StartsWith("talweg: " + path));
    EXPECT_THAT(outcome.errors, ::testing::Not(HasSubstr("INVALID_ARGUMENT")));
    return outcome.errors;
  };
  EXPECT_THAT(complaint(R"({"config": {"schedule": {"lerning_rate": 1}}})"),
              HasSubstr("lerning_rate"));
  EXPECT_THAT(complaint(R"({"config" 1})"), HasSubstr("is no CreateSessionRequest: "));
  EXPECT_THAT(complaint(""), HasSubstr("is no CreateSessionRequest: "));
}

TEST(CommandTest, APolicyIsReadBeforeTheServerIsCalledAndItsHelpNamesEveryField) {
  const Outcome wrong = RunProgram({"session", "create", "a", "--aggregation", "mode=SOMETIMES"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.errors, HasSubstr("there are: ASYNCHRONOUS, SYNCHRONOUS, BOUNDED_STALENESS"));
  EXPECT_EQ(RunProgram({"session", "create", "a", "--aggregation=mode=SYNCHRONOUS,close=ALL",
                        "--server=127.0.0.1:1", "--timeout=0.01"})
                .code,
            1);
  for (const std::string command : {"create", "update"}) {
    const std::string help = RunProgram({"session", command, "--help"}).out;
    const auto& policy = *v1::AggregationPolicy::descriptor();
    for (int i = 0; i < policy.field_count(); ++i) {
      EXPECT_THAT(help, HasSubstr(" " + policy.field(i)->name()));
    }
    EXPECT_THAT(help, HasSubstr("close (ALL, COUNT, WEIGHT, DEADLINE)"));
  }
}

TEST(CommandTest, ASearchIsReadBeforeTheServerIsCalledAndItsHelpNamesEveryField) {
  const auto create = [&](const std::string& search) {
    return RunProgram(
        {"session", "create", "a", "--search", search, "--server=127.0.0.1:1", "--timeout=0.01"});
  };
  // Good values reach the server, which is not there.
  EXPECT_EQ(create("method=EVOLUTION_STRATEGY,num_pairs=50,sigma=0.05,shaping=CENTERED_RANKS").code,
            1);
  const Outcome bad = create("method=ANNEALING");
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.errors, HasSubstr("there are: NONE, EVOLUTION_STRATEGY, RANDOM_SEARCH"));
  const Outcome unknown = create("population=50");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.errors, HasSubstr("SearchPolicy has no field \"population\""));
  for (const std::string value : {"num_pairs=many", "num_pairs=-1", "sigma=", "sigma"}) {
    const Outcome wrong = create(value);
    EXPECT_EQ(wrong.code, 2) << value;
    EXPECT_THAT(wrong.errors, HasSubstr(value.substr(0, value.find('=')))) << value;
  }
  for (const std::string command : {"create", "update"}) {
    const std::string help = RunProgram({"session", command, "--help"}).out;
    const auto& policy = *v1::SearchPolicy::descriptor();
    for (int i = 0; i < policy.field_count(); ++i) {
      EXPECT_THAT(help, HasSubstr(" " + policy.field(i)->name()));
    }
    EXPECT_THAT(help, HasSubstr("Fields of --search:"));
    EXPECT_THAT(help, HasSubstr("differences (CENTRAL, ONE_SIDED, DIRECTIONAL)"));
  }
}

TEST(CommandTest, AFieldThatIsGivenTwiceIsRefusedWhereverItStands) {
  const auto complaint = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"session", "create", "a", "--server=127.0.0.1:1"});
    const Outcome outcome = RunProgram(words);
    EXPECT_EQ(outcome.code, 2);
    return outcome.errors;
  };
  EXPECT_THAT(complaint({"--optimizer=adam", "--set=beta1=0.8", "--set=beta1=0.9"}),
              HasSubstr("optimizer.adam.beta1 is given twice"));
  EXPECT_THAT(complaint({"--optimizer=adam:0.8", "--set", "beta1=0.9"}),
              HasSubstr("optimizer.adam.beta1 is given twice"));
  EXPECT_THAT(complaint({"--learning_rate=1", "--learning_rate=2"}),
              HasSubstr("--learning_rate is given twice: 1 and 2"));
  EXPECT_THAT(complaint({"--aggregation=max_staleness=1", "--max_staleness=2"}),
              HasSubstr("aggregation.max_staleness is given twice"));
  EXPECT_THAT(complaint({"--aggregation=close=ALL", "--aggregation=close=COUNT"}),
              HasSubstr("aggregation.close is given twice"));
  EXPECT_THAT(complaint({"--search=sigma=1", "--search=seed=3,sigma=1"}),
              HasSubstr("search.sigma is given twice"));
}

TEST(CommandTest, AWorkersPlaceIsCheckedBeforeTheServerIsCalled) {
  const Outcome role = RunProgram({"session", "join", "a", "--role", "manager"});
  EXPECT_EQ(role.code, 2);
  EXPECT_THAT(role.errors, HasSubstr("--role takes gradient, statistics, search; not \"manager\""));
  EXPECT_EQ(RunProgram({"session", "join", "a", "--role", "unspecified"}).code, 2);
  for (const std::string command : {"heartbeat", "leave"}) {
    const Outcome missing = RunProgram({"session", command, "a"});
    EXPECT_EQ(missing.code, 2);
    EXPECT_THAT(missing.errors, HasSubstr("--incarnation is needed"));
    EXPECT_EQ(RunProgram({"session", command, "a", "--incarnation", "first"}).code, 2);
    EXPECT_EQ(RunProgram({"session", command, "a", "--incarnation", "1", "--history", "old"}).code,
              2);
    EXPECT_EQ(RunProgram({"session", command, "a", "--incarnation=1", "--server=127.0.0.1:1",
                          "--timeout=0.01"})
                  .code,
              1);
  }
}

TEST(CommandTest, ValuesOfAFileLeaveNothingToBeMade) {
  for (const std::string flag : {"--seed=3", "--init=*=normal"}) {
    const Outcome outcome = RunProgram({"session", "create", "a", "--layout=w:2",
                                        "--initial=/no/such.npy", "--server=127.0.0.1:1", flag});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.errors, HasSubstr("--initial and --" + flag.substr(2, 4)));
  }
  const std::string path = absl::StrCat(::testing::TempDir(), "/talweg_uploaded_", getpid());
  std::ofstream(path) << R"({"initialValues": {"uploaded": {"data": "AAAAAAAAAAA="}}})";
  const Outcome outcome =
      RunProgram({"session", "create", "a", "--config", path, "--seed=3", "--server=127.0.0.1:1"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("--seed is for values that are made"));
}

TEST(CommandTest, TheFlagsOfEveryCommandFitATerminalOf80Columns) {
  for (const Command& command : AllCommands()) {
    const std::string help = HelpOf(command);
    const std::string flags = help.substr(help.find("\n  --"));
    for (const absl::string_view line : absl::StrSplit(flags, '\n')) {
      EXPECT_LE(line.size(), 80u) << command.name << ": " << line;
    }
  }
}

TEST(CommandTest, HelpSaysWhichServerAnExperimentTakes) {
  for (const Command& command : ExperimentCommands()) {
    const bool own = !command.hidden;  // hidden ones work for others
    EXPECT_THAT(HelpOf(command), HasSubstr(own ? "else $TALWEG_SERVER, else one of its own"
                                               : "else $TALWEG_SERVER, else 127.0.0.1:50551"))
        << command.name;
  }
}

TEST(CommandTest, EveryCommandOfTheProgramHasAHelpOfItsOwn) {
  for (const Command& command : AllCommands()) {
    const std::string help = HelpOf(command);
    EXPECT_THAT(help, HasSubstr("talweg " + command.name));
    EXPECT_THAT(help, HasSubstr(command.summary));
  }
}

}  // namespace
}  // namespace talweg
