// SPDX-License-Identifier: Apache-2.0
//
// The server's log: lines for people or JSON objects for machines, on standard error.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace talweg::server {

// `format` is "text" or "json", `level` one of debug, info, warning, error. Fails with
// INVALID_ARGUMENT on anything else. Call once, before the first line.
absl::Status SetUpLog(const std::string& format, const std::string& level);

}  // namespace talweg::server
