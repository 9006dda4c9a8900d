// SPDX-License-Identifier: Apache-2.0
//
// Patterns over tensor names: `*` stands for any run of characters, everything else for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/layout.h"
#include "core/base/reasons.h"

namespace talweg::core {

// Takes O(length of pattern) if there is at most one star, otherwise O(length of pattern * length
// of name) in the worst case. Allocates nothing.
bool MatchesPattern(absl::string_view pattern, absl::string_view name);

inline constexpr size_t kMaxPatterns = 4096;
// The largest value of: bytes of the patterns with at most one star times the number of tensors,
// plus bytes of the other patterns times bytes of all names. It bounds the time that matching
// takes.
inline constexpr uint64_t kMaxMatching = uint64_t{1} << 28;
inline constexpr size_t kNoPattern = SIZE_MAX;

// For each tensor of the layout, the first pattern that matches its name, or kNoPattern. Fails with
// `reason`, naming `list` or the pattern's field ("rules[2].tensors"), if there are more than
// kMaxPatterns, if a pattern is empty or longer than a name can be, if a pattern is the first match
// of no tensor, or if matching would take more than kMaxMatching.
absl::StatusOr<std::vector<size_t>> MatchTensors(const Layout& layout,
                                                 absl::Span<const absl::string_view> patterns,
                                                 Reason reason, absl::string_view list);

}  // namespace talweg::core
