// SPDX-License-Identifier: Apache-2.0
#include "client/cli/command.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/reader.h"
#include "client/cpp/talweg/status.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kStopped = 130;

constexpr absl::string_view kAbout =
    "talweg: sessions, steps and parameters of a Talweg server, and experiments against one.\n";

constexpr absl::string_view kEpilogue =
    "\nThe server is --server HOST:PORT, else $TALWEG_SERVER, else 127.0.0.1:50551; an\n"
    "experiment starts one of its own instead, which ends with it.\n"
    "Exit codes: 0 done; 1 the server, the connection or a file said no, or a contribution was\n"
    "refused; 2 the command line is wrong; 130 stopped by Ctrl-C.\n";

// Flags that every command takes.
std::vector<Flag> CommonFlags(const Command& command) {
  const char* otherwise = command.starts_server ? "one of its own" : "127.0.0.1:50551";
  return {
      {"server", "HOST:PORT", absl::StrCat("the server; else $TALWEG_SERVER, else ", otherwise)},
      {"timeout", "SECONDS",
       "how long to try to reach the server and to get an answer (30), but for waits"},
      {"json", "", "print the result as JSON"},
      {"help", "", "print this"}};
}

std::vector<absl::string_view> Words(absl::string_view text) {
  return absl::StrSplit(text, ' ', absl::SkipEmpty());
}

bool StartsWithWords(absl::Span<const std::string> words,
                     absl::Span<const absl::string_view> beginning) {
  return words.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), words.begin());
}

// The list of all commands whose name starts with `prefix` ("session ", or empty).
std::string ListHelp(absl::Span<const Command> commands, absl::string_view prefix) {
  Table table({{""}, {""}});
  for (const Command& command : commands) {
    if (command.hidden || !absl::StartsWith(command.name, prefix)) continue;
    table.AddRow({absl::StrCat("  talweg ", command.name, command.arguments.empty() ? "" : " ",
                               command.arguments),
                  command.summary});
  }
  return absl::StrCat(prefix.empty() ? kAbout : "", prefix.empty() ? "\n" : "", table.Text(),
                      "\n`--help` behind a command tells its flags",
                      prefix.empty() ? "; `talweg --version` tells its version" : "", ".\n",
                      prefix.empty() ? kEpilogue : "");
}

// `text` in lines of at most `width` characters, if its words are no longer than that.
std::vector<std::string> Wrapped(absl::string_view text, size_t width) {
  std::vector<std::string> lines(1);
  for (const absl::string_view word : Words(text)) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width) {
      lines.emplace_back();
    }
    absl::StrAppend(&lines.back(), lines.back().empty() ? "" : " ", word);
  }
  return lines;
}

std::string FlagHelp(absl::Span<const Flag> flags) {
  constexpr size_t kWidth = 80;  // of the narrowest terminal that people use
  std::vector<std::string> names;
  size_t widest = 0;
  for (const Flag& flag : flags) {
    names.push_back(absl::StrCat("  --", flag.name, flag.value.empty() ? "" : " ", flag.value));
    widest = std::max(widest, names.back().size() + 2);
  }
  Table table({{""}, {""}});
  for (size_t i = 0; i < flags.size(); ++i) {
    std::string name = names[i];
    for (std::string& line : Wrapped(flags[i].help, kWidth - widest)) {
      table.AddRow({std::exchange(name, ""), std::move(line)});
    }
  }
  return table.Text();
}

std::string CommandHelp(const Command& command) {
  return absl::StrCat("talweg ", command.name, command.arguments.empty() ? "" : " ",
                      command.arguments, command.flags.empty() ? "" : " [flags]", "\n\n",
                      command.summary, ".\n", command.details.empty() ? "" : "\n", command.details,
                      "\n", FlagHelp(command.flags), command.flags.empty() ? "" : "\n",
                      FlagHelp(CommonFlags(command)));
}

int Fail(const absl::Status& status, const Command& command, std::ostream& errors) {
  if (absl::IsCancelled(status)) {
    // What else there is to say, a command says behind it.
    const bool ours = absl::StartsWith(status.message(), "stopped");
    errors << "talweg: " << (ours ? status.message() : "stopped") << "\n";
    return kStopped;
  }
  if (IsUsageError(status)) {
    errors << "talweg " << command.name << ": " << status.message() << "; see talweg "
           << command.name << " --help\n";
    return kUsage;
  }
  errors << "talweg: " << Describe(status) << "\n";
  return kFailed;
}

bool AsksForHelp(const std::string& word) {
  return word == "--help" || word == "-h" || word == "help";
}

int Run(const Command& command, absl::Span<const std::string> words, std::ostream& out,
        std::ostream& errors) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    out << CommandHelp(command);
    return kDone;
  }
  std::vector<Flag> flags = command.flags;
  for (Flag& flag : CommonFlags(command)) flags.push_back(std::move(flag));
  const absl::StatusOr<Arguments> arguments =
      Arguments::Parse(flags, Words(command.arguments).size(), words);
  if (!arguments.ok()) return Fail(arguments.status(), command, errors);
  const absl::Status status = command.run(*arguments, out);
  if (!status.ok()) return Fail(status, command, errors);
  out.flush();
  if (out || ReaderIsGone()) return kDone;
  errors << "talweg: standard output takes no more\n";
  return kFailed;
}

}  // namespace

int RunCommandLine(absl::Span<const Command> commands, absl::Span<const std::string> words,
                   std::ostream& out, std::ostream& errors) {
  for (const Command& command : commands) {
    const std::vector<absl::string_view> name = Words(command.name);
    if (StartsWithWords(words, name)) return Run(command, words.subspan(name.size()), out, errors);
  }
  if (words.size() == 1 && words[0] == "--version") {
    out << "talweg " << TALWEG_VERSION << "\n";
    return kDone;
  }
  // Not a whole command: a group of them ("session"), or nothing at all.
  std::string prefix;
  if (!words.empty() && !AsksForHelp(words[0])) prefix = words[0] + " ";
  const bool group = std::any_of(commands.begin(), commands.end(), [&](const Command& command) {
    return absl::StartsWith(command.name, prefix);
  });
  const bool asked = !words.empty() && AsksForHelp(words.back());
  if (!asked && words.size() > 1 && absl::StartsWith(words[0], "--")) {
    errors << "talweg: flags come behind the command: talweg COMMAND " << words[0]
           << " ...; see talweg --help\n";
    return kUsage;
  }
  if (!group || (!asked && words.size() > 1)) {
    errors << "talweg: no command \"" << absl::StrJoin(words, " ") << "\"; see talweg --help\n";
    return kUsage;
  }
  (asked ? out : errors) << ListHelp(commands, prefix);
  return asked ? kDone : kUsage;
}

}  // namespace talweg
