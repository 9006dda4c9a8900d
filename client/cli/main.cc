// SPDX-License-Identifier: Apache-2.0
//
// talweg: the command line of Talweg.
#include <iostream>
#include <string>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/reader.h"

int main(int argc, char** argv) {
  talweg::SurviveGoneReaders();
  std::vector<talweg::Command> commands = talweg::SessionCommands();
  for (const auto& more : {talweg::WorkerCommands(), talweg::WatchCommands(),
                           talweg::TensorCommands(), talweg::ExperimentCommands()}) {
    commands.insert(commands.end(), more.begin(), more.end());
  }
  const std::vector<std::string> words(argv + 1, argv + argc);
  return talweg::RunCommandLine(commands, words, std::cout, std::cerr);
}
