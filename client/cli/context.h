// SPDX-License-Identifier: Apache-2.0
//
// What every command does alike: find the server and the worker's name, and print messages as JSON.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/arguments.h"
#include "client/cpp/talweg/client.h"
#include "google/protobuf/message.h"

namespace talweg {

// The server that --server or the environment name; empty if neither does.
absl::StatusOr<std::string> ServerAsAsked(const Arguments& arguments);
// How to reach it and how long, as --timeout says. `stop` ends retries (see RetryOptions).
absl::StatusOr<ClientOptions> OptionsAsAsked(const Arguments& arguments,
                                             std::function<bool()> stop = {});
// Connects to `server`, HOST:PORT.
absl::StatusOr<Client> ConnectTo(const std::string& server, const Arguments& arguments,
                                 std::function<bool()> stop = {});
// Connects to the server that is named, else to 127.0.0.1:50551.
absl::StatusOr<Client> ConnectAsAsked(const Arguments& arguments, std::function<bool()> stop = {});

// The worker that --worker names, else the one that the environment says (WorkerName()) if
// $TALWEG_WORKER is set, else "cli".
std::string WorkerAsAsked(const Arguments& arguments);
// The help of such a flag: "`subject`; else $TALWEG_WORKER, else cli".
std::string WorkerFlagHelp(absl::string_view subject);

// Writes "talweg: NOTE" to standard error: what a person should know, although nothing failed.
// Writes nothing if `note` is empty.
void Tell(absl::string_view note);

// Protobuf's JSON, with the proto's names and every number, also zero.
absl::Status PrintJson(const google::protobuf::Message& message, std::ostream& out);
// The same on one line, for streams of messages.
absl::Status PrintJsonLine(const google::protobuf::Message& message, std::ostream& out);

}  // namespace talweg
