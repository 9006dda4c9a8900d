// SPDX-License-Identifier: Apache-2.0
//
// A value of an enumeration as field tables carry it: by its name on the wire, without the
// enumeration's prefix ("SYNCHRONOUS").
#pragma once

#include <string>

#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::core {

struct Choice {
  absl::string_view name;  // Borrowed: points to static storage or to the caller's.
  friend bool operator==(const Choice& a, const Choice& b) { return a.name == b.name; }
  friend bool operator!=(const Choice& a, const Choice& b) { return a.name != b.name; }
};

// "WAIT or CLOSE", "MEAN, TRIMMED_MEAN or MEDIAN".
inline std::string ChoicesText(absl::Span<const absl::string_view> names) {
  if (names.size() < 2) return absl::StrJoin(names, "");
  return absl::StrJoin(names.first(names.size() - 1), ", ") + " or " + std::string(names.back());
}

}  // namespace talweg::core
