// SPDX-License-Identifier: Apache-2.0
#include "core/base/name_pattern.h"

#include <cstddef>

namespace talweg::core {

bool MatchesPattern(absl::string_view pattern, absl::string_view name) {
  // Greedy, with one point to come back to: the last star and how much of the name it has taken.
  size_t p = 0;
  size_t n = 0;
  size_t star = absl::string_view::npos;
  size_t taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace talweg::core
