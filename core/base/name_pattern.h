// SPDX-License-Identifier: Apache-2.0
//
// Patterns over tensor names: `*` stands for any run of characters, everything else for itself.
#pragma once

#include "absl/strings/string_view.h"

namespace talweg::core {

// O(length of pattern * length of name) in the worst case, no allocation.
bool MatchesPattern(absl::string_view pattern, absl::string_view name);

}  // namespace talweg::core
