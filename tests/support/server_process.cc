// SPDX-License-Identifier: Apache-2.0
#include "tests/support/server_process.h"

#include <algorithm>
#include <stdexcept>

namespace talweg::testing {

ServerProcess::ServerProcess(const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = flags;
  const bool has_address = std::any_of(flags.begin(), flags.end(), [](const std::string& flag) {
    return flag.rfind("--address=", 0) == 0;
  });
  if (!has_address) arguments.emplace_back("--address=127.0.0.1:0");
  ChildStreams streams;
  streams.input = ChildStreams::Input::kInherited;
  streams.errors_with_output = false;
  streams.own_process_group = false;
  absl::StatusOr<std::unique_ptr<ChildProcess>> process =
      ChildProcess::Start(TALWEG_SERVER_BINARY, arguments, streams);
  if (!process.ok()) throw std::runtime_error(process.status().ToString());
  process_ = *std::move(process);
  const std::string line = process_->AwaitLine().value_or("");
  process_->CloseOutput();
  const std::string prefix = "talweg-server listening on ";
  if (line.compare(0, prefix.size(), prefix) != 0) {
    throw std::runtime_error("the server does not listen: " + line);
  }
  address_ = line.substr(prefix.size());
}

int ServerProcess::port() const { return std::stoi(address_.substr(address_.rfind(':') + 1)); }

}  // namespace talweg::testing
