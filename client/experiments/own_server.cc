// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/own_server.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace talweg {
namespace {

constexpr absl::string_view kListens = "talweg-server listening on ";
constexpr absl::Duration kStartTimeout = absl::Seconds(30);
constexpr absl::Duration kStopTimeout = absl::Seconds(10);

// Path of the program; empty where there is none.
std::string FindServer() {
  namespace fs = std::filesystem;
  std::vector<std::string> folders = {fs::path(PathOfThisProgram()).parent_path().string()};
  if (const char* path = std::getenv("PATH"); path != nullptr) {
    const std::vector<std::string> more = absl::StrSplit(path, ':', absl::SkipEmpty());
    folders.insert(folders.end(), more.begin(), more.end());
  }
  for (const std::string& folder : folders) {
    const std::string program = (fs::path(folder) / "talweg-server").string();
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
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

OwnServer::~OwnServer() { process_->Stop(kStopTimeout); }

}  // namespace talweg
