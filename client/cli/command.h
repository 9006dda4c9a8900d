// SPDX-License-Identifier: Apache-2.0
//
// The commands as a table: names, help, flags, and what runs. Help at every level is written from
// it.
//
// Exit codes: 0 done; 1 the server, the connection or a file said no, or a contribution was
// refused; 2 the command line is wrong; 130 stopped by Ctrl-C.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/arguments.h"

namespace talweg {

struct Command {
  std::string name;       // "session create"
  std::string arguments;  // "ID": one word per argument, as the help shows them
  std::string summary;    // one line
  std::string details;    // more for its own help, lines ended; may be empty
  std::vector<Flag> flags;
  // Writes its result to `out`.
  absl::Status (*run)(const Arguments& arguments, std::ostream& out);
  // Left out of lists, because other commands run it. It has help all the same.
  bool hidden = false;
  // Starts a server of its own if none is named; the help of --server says so.
  bool starts_server = false;
};

// The commands of each file *_commands.cc.
std::vector<Command> SessionCommands();
std::vector<Command> WorkerCommands();
std::vector<Command> WatchCommands();
std::vector<Command> TensorCommands();
std::vector<Command> ExperimentCommands();  // with those below
std::vector<Command> SearchExperimentCommands();
std::vector<Command> CurvatureExperimentCommands();

// Runs the command that `words` (without the program's name) start with. Prints an error as one
// line to `errors`. Returns the exit code.
int RunCommandLine(absl::Span<const Command> commands, absl::Span<const std::string> words,
                   std::ostream& out, std::ostream& errors);

}  // namespace talweg
