// SPDX-License-Identifier: Apache-2.0
//
// What every command does alike: find the server and the worker's name, and print messages as JSON.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/arguments.h"
#include "client/cpp/talweg/client.h"
#include "google/protobuf/message.h"

namespace talweg {

// The server that --server or the environment name; empty if neither does.
absl::StatusOr<std::string> ServerAsAsked(const Arguments& arguments);
// How to reach it and how long, as --timeout says. `stop` ends retries (see RetryOptions).
absl::StatusOr<ClientOptions> OptionsAsAsked(const Arguments& arguments,
                                             std::function<bool()> stop = {});
// Tells, once, that a server is not there for more than a second, where it is tried, and how long.
// Told again after the server was there for a while.
class AbsenceNotice {
 public:
  // `timeout` is how long it is tried.
  AbsenceNotice(std::string server, absl::Duration timeout)
      : server_(std::move(server)), timeout_(timeout) {}

  // What to tell after `waited` for the first connection; empty: nothing.
  std::string Connecting(absl::Duration waited);
  // What to tell before the retry of a call at `now` that failed as `why` says; empty: nothing.
  std::string Retrying(const absl::Status& why, absl::Time now);

 private:
  const std::string server_;
  const absl::Duration timeout_;
  bool told_ = false;
  absl::Time first_ = absl::InfinitePast();  // retry of the present absence
  absl::Time last_ = absl::InfinitePast();   // retry
};

// Connects to `server`, HOST:PORT. Tells (Tell) if it is not there.
absl::StatusOr<Client> ConnectTo(const std::string& server, const Arguments& arguments,
                                 std::function<bool()> stop = {});
// Connects to the server that is named, else to 127.0.0.1:50551.
absl::StatusOr<Client> ConnectAsAsked(const Arguments& arguments, std::function<bool()> stop = {});

// The worker that --worker names, else the one that the environment says (WorkerName()) if
// $TALWEG_WORKER is set, else "cli-USER-HOST", so that two people do not fence each other.
std::string WorkerAsAsked(const Arguments& arguments);
// The help of such a flag: "`subject`; else $TALWEG_WORKER, else cli-USER-HOST".
std::string WorkerFlagHelp(absl::string_view subject);
// `status`; if it says that another process took the place of this worker, also what to do about
// it.
absl::Status WithWorker(const absl::Status& status, const std::string& worker);

// Writes "talweg: NOTE" to standard error: what a person should know, although nothing failed.
// Writes nothing if `note` is empty.
void Tell(absl::string_view note);

// Protobuf's JSON, with the proto's names and every number, also zero.
absl::Status PrintJson(const google::protobuf::Message& message, std::ostream& out);
// The same on one line, for streams of messages.
absl::Status PrintJsonLine(const google::protobuf::Message& message, std::ostream& out);

}  // namespace talweg
