// SPDX-License-Identifier: Apache-2.0
//
// Files of figures and numbers, and pieces of JSON.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace talweg {

// Makes `folder` and those above it, if need be.
absl::Status MakeFolder(const std::string& folder);
absl::Status WriteFile(const std::string& path, const std::string& text);
// `text` as a string of JSON.
std::string Quoted(absl::string_view text);

}  // namespace talweg
