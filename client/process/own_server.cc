// SPDX-License-Identifier: Apache-2.0
#include "client/process/own_server.h"

#include <unistd.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/process/program_path.h"

namespace talweg {
namespace {

constexpr const char* kServer = "talweg-server";
constexpr absl::string_view kListens = "talweg-server listening on ";
constexpr absl::Duration kStartTimeout = absl::Seconds(30);
constexpr absl::Duration kStopTimeout = absl::Seconds(10);
constexpr absl::Duration kReadEvery = absl::Milliseconds(50);

// The path of the server that stands beside this program, else of the one on $PATH; empty if there
// is none.
std::string FindServer() {
  const std::filesystem::path folder = std::filesystem::path(PathOfThisProgram()).parent_path();
  const std::string beside = (folder / kServer).string();
  return access(beside.c_str(), X_OK) == 0 ? beside : FindProgram(kServer);
}

}  // namespace

absl::StatusOr<std::unique_ptr<OwnServer>> OwnServer::Start() {
  const std::string program = FindServer();
  if (program.empty()) {
    return absl::NotFoundError(
        "no talweg-server beside this program or on $PATH; name a running one with --server");
  }
  absl::StatusOr<std::unique_ptr<ChildProcess>> process =
      ChildProcess::Start(program, {"--address=127.0.0.1:0", "--log_level=warning"});
  if (!process.ok()) return process.status();
  std::vector<std::string> said;
  const absl::Time end = absl::Now() + kStartTimeout;
  for (bool running = true; running && absl::Now() < end; absl::SleepFor(absl::Milliseconds(5))) {
    running = (*process)->Running();
    for (const std::string& line : (*process)->ReadLines()) {
      absl::string_view address = line;
      if (absl::ConsumePrefix(&address, kListens)) {
        return std::unique_ptr<OwnServer>(new OwnServer(*std::move(process), std::string(address)));
      }
      said.push_back(line);
    }
  }
  return absl::UnavailableError(
      absl::StrCat(program, " does not start: ", absl::StrJoin(said, "; ")));
}

OwnServer::OwnServer(std::unique_ptr<ChildProcess> process, std::string address)
    : process_(std::move(process)), address_(std::move(address)) {
  reader_ = std::jthread([this](const std::stop_token& stop) {
    for (; !stop.stop_requested(); absl::SleepFor(kReadEvery)) process_->ReadLines();
  });
}

OwnServer::~OwnServer() {
  reader_ = {};  // joins
  process_->Stop(kStopTimeout);
}

}  // namespace talweg
