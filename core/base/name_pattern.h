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

// O(length of pattern) with at most one star, else O(length of pattern * length of name) in the
// worst case; no allocation.
bool MatchesPattern(absl::string_view pattern, absl::string_view name);

inline constexpr size_t kMaxPatterns = 4096;
// Bytes of the patterns with at most one star times the number of tensors, plus bytes of the others
// times bytes of all names: bounds the time that matching can take.
inline constexpr uint64_t kMaxMatching = uint64_t{1} << 28;
inline constexpr size_t kNoPattern = SIZE_MAX;

// For each tensor of the layout the first pattern that matches its name, or kNoPattern. Fails with
// `reason`, naming `list` or the pattern's field ("rules[2].tensors"): more than kMaxPatterns, a
// pattern that is empty or longer than a name can be, one that is first for no tensor, or more
// matching than kMaxMatching.
absl::StatusOr<std::vector<size_t>> MatchTensors(const Layout& layout,
                                                 absl::Span<const absl::string_view> patterns,
                                                 Reason reason, absl::string_view list);

}  // namespace talweg::core
