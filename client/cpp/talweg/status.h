// SPDX-License-Identifier: Apache-2.0
//
// What the server says about an error. Every status of this library that comes from the server
// carries the server's reason. Branch on the reason, never on the text.
//
//   if (talweg::ReasonOf(result.status()) == "HISTORY_CHANGED") session.Reattach();
//
// `proto/README.md` lists the reasons.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace talweg {

// Names and values that travel with an error, such as {"version", "17"}.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

// The server's reason, such as "SESSION_NOT_FOUND"; empty if the error is not the server's.
std::string ReasonOf(const absl::Status& status);
// The path of the offending field, such as "config.optimizer.adam.beta1"; empty if no field is to
// blame.
std::string FieldOf(const absl::Status& status);
ErrorMetadata MetadataOf(const absl::Status& status);
// The history and version to go on from, if the error names them.
std::optional<uint64_t> HistoryOf(const absl::Status& status);
std::optional<uint64_t> VersionOf(const absl::Status& status);
// How long the server asks to wait before a retry; zero if it does not say.
absl::Duration RetryDelayOf(const absl::Status& status);

// Makes a status from a gRPC status. `code` is as gRPC numbers codes (not 0); `details` is the
// serialized google.rpc.Status of the trailer `grpc-status-details-bin`, and may be empty. Details
// that do not parse, or that come from another domain than "talweg", are left out.
absl::Status StatusFromDetails(int code, absl::string_view message, absl::string_view details);

// One line for a person: "SESSION_NOT_FOUND: no session "a" (session_id)". Before the text stands
// the server's reason, else the code that the call ended with. If there was no call, as for a file
// that cannot be opened, nothing stands before the text.
std::string Describe(const absl::Status& status);

}  // namespace talweg
