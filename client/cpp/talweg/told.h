// SPDX-License-Identifier: Apache-2.0
//
// What a person is told of times and of connections, in words.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace talweg {

// Rounded for a person: "20 ms", "1.5 s", "10 s", "5 min", "3 h"; "ever" if it has no end.
std::string DurationText(absl::Duration duration);

// DEADLINE_EXCEEDED, because nothing moved for `timeout`.
absl::Status NothingMoved(absl::Duration timeout);

// What gRPC says of a connection or a call, as a sentence that tells what happened and what to do,
// with gRPC's own text behind it: "the server does not answer pings: ... (gRPC: keepalive watchdog
// timeout)". A text that is not known stays as it is.
std::string ConnectionText(absl::string_view grpc_text);

}  // namespace talweg
