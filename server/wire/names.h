// SPDX-License-Identifier: Apache-2.0
//
// Names that clients choose for sessions, workers and requests.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace talweg::server {

// A name has 1 to 128 characters of `a-z A-Z 0-9 . _ -`, and the first is a letter or a digit.
// FIELD_REQUIRED if it is empty, FIELD_OUT_OF_RANGE if it is wrong otherwise, naming `field`.
absl::Status CheckName(absl::string_view name, absl::string_view field);

// What tells one request from another, such as the id of a request to create a session, has at most
// 128 bytes, whatever they are, and may be empty. FIELD_OUT_OF_RANGE, naming `field`.
absl::Status CheckRequestId(absl::string_view request_id, absl::string_view field);

}  // namespace talweg::server
