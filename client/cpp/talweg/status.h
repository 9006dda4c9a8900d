// SPDX-License-Identifier: Apache-2.0
//
// What the server says about an error. Every status of this library that comes from the server
// carries the server's reason; branch on it, never on the text.
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

// The server's reason, such as "SESSION_NOT_FOUND"; empty where the error is not the server's.
std::string ReasonOf(const absl::Status& status);
// Path of the offending field, such as "config.optimizer.adam.beta1"; empty where none is to blame.
std::string FieldOf(const absl::Status& status);
ErrorMetadata MetadataOf(const absl::Status& status);
// The history and version to go on from, where the error names them.
std::optional<uint64_t> HistoryOf(const absl::Status& status);
std::optional<uint64_t> VersionOf(const absl::Status& status);
// How long the server asks to wait before a retry; zero where it does not say.
absl::Duration RetryDelayOf(const absl::Status& status);

// Makes a status of a gRPC status: `code` as gRPC numbers them (not 0), `details` the serialized
// google.rpc.Status of the trailer `grpc-status-details-bin`, which may be empty. Details that do
// not parse, or that come from another domain than "talweg", are left out.
absl::Status StatusFromDetails(int code, absl::string_view message, absl::string_view details);

// One line for a person: "SESSION_NOT_FOUND: no session "a" (session_id)". Before the text stands
// the server's reason, else the code that the call ended with; nothing where no call did, as for a
// file that cannot be opened.
std::string Describe(const absl::Status& status);

}  // namespace talweg
