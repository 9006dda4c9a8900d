// SPDX-License-Identifier: Apache-2.0
//
// What goes to and from a server, and how: the flags --point, --dtype and --checksums of step and
// pull; --base_version, --weight, --difference and --no_wait of step; --min_version of pull; and
// the progress bar of step, pull and session create.
#pragma once

#include <cstdio>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/arguments.h"
#include "client/cpp/talweg/options.h"

namespace talweg {

// UsageError for a point, dtype or number that is none, or for a point that no step brings back.
// --dtype is for both directions.
absl::StatusOr<StepOptions> StepOptionsOf(const Arguments& arguments);
absl::StatusOr<PullOptions> PullOptionsOf(const Arguments& arguments);

// Draws a bar on `out`, behind `label`, while 16 MiB or more travel. Unset if `out` is no terminal.
ProgressCallback TransferBar(std::FILE* out, absl::string_view label);

}  // namespace talweg
