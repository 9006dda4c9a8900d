// SPDX-License-Identifier: Apache-2.0
//
// Names that clients choose: of sessions and of workers.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace talweg::server {

// 1 to 128 characters of `a-z A-Z 0-9 . _ -`, the first a letter or a digit. FIELD_REQUIRED where
// empty, FIELD_OUT_OF_RANGE otherwise, naming `field`.
absl::Status CheckName(absl::string_view name, absl::string_view field);

}  // namespace talweg::server
