// SPDX-License-Identifier: Apache-2.0
//
// A peer in another language: a process that measures itself when it is asked to, so that the two
// sides of a benchmark take turns.
#pragma once

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/process/child_process.h"
#include "client/process/program_path.h"

namespace talweg::testing {

// It is asked and answers in lines, and waits between its turns.
class Peer {
 public:
  // Starts `script` with `arguments`. name() is empty if it did not come up.
  Peer(const std::string& python, const std::string& script, std::vector<std::string> arguments) {
    const std::string program = FindProgram(python);
    if (program.empty()) return;
    ChildStreams streams;
    streams.input = ChildStreams::Input::kPipe;
    streams.errors_with_output = false;
    streams.own_process_group = false;
    arguments.insert(arguments.begin(), TALWEG_BENCH_DIR "/" + script);
    process_ = ChildProcess::Start(program, arguments, streams).value();
    name_ = process_->AwaitLine().value_or("");
  }

  const std::string& name() const { return name_; }
  // Asks for one measurement; nothing if the peer ended.
  std::optional<double> SecondsFor(int number) {
    process_->Write(std::to_string(number) + "\n");
    const std::optional<std::string> line = process_->AwaitLine();
    if (!line.has_value()) return std::nullopt;
    return std::atof(line->c_str());
  }

 private:
  std::unique_ptr<ChildProcess> process_;
  std::string name_;
};

}  // namespace talweg::testing
