// SPDX-License-Identifier: Apache-2.0
//
// How numbers travel to and from a server: the flags --point, --dtype and --checksums of step and
// pull, and their progress bar.
#pragma once

#include <cstdio>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/arguments.h"
#include "client/cpp/talweg/options.h"

namespace talweg {

// UsageError for a point or dtype that is none, or that no step brings back. --dtype is for both
// directions.
absl::StatusOr<StepOptions> StepOptionsOf(const Arguments& arguments);
absl::StatusOr<PullOptions> PullOptionsOf(const Arguments& arguments);

// Draws a bar on `out` while 16 MiB or more go, behind `label`; unset where `out` is no terminal.
ProgressCallback TransferBar(std::FILE* out, absl::string_view label);

}  // namespace talweg
