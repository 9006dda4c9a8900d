// SPDX-License-Identifier: Apache-2.0
#include "core/base/name_pattern.h"

#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace talweg::core {

bool MatchesPattern(absl::string_view pattern, absl::string_view name) {
  // The text before the first star and the text after the last star have fixed places.
  const size_t first_star = pattern.find('*');
  if (first_star == absl::string_view::npos) return pattern == name;
  const size_t last_star = pattern.rfind('*');
  const absl::string_view prefix = pattern.substr(0, first_star);
  const absl::string_view suffix = pattern.substr(last_star + 1);
  if (name.size() < prefix.size() + suffix.size() || !absl::StartsWith(name, prefix) ||
      !absl::EndsWith(name, suffix)) {
    return false;
  }
  if (first_star == last_star) return true;
  pattern = pattern.substr(first_star, last_star - first_star + 1);
  name = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  // The match is greedy, with one point to return to: the last star, and how much of the name that
  // star stands for.
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

absl::StatusOr<std::vector<size_t>> MatchTensors(const Layout& layout,
                                                 absl::Span<const absl::string_view> patterns,
                                                 Reason reason, absl::string_view list) {
  const auto field_of = [&](size_t index) { return absl::StrCat(list, "[", index, "].tensors"); };
  if (patterns.size() > kMaxPatterns) {
    return MakeError(
        reason,
        absl::StrCat("there are ", patterns.size(), " patterns, allowed: at most ", kMaxPatterns),
        list);
  }
  // The bytes of patterns that are compared once per name, and of patterns that are tried at every
  // place of a name.
  uint64_t simple_bytes = 0;
  uint64_t other_bytes = 0;
  for (size_t index = 0; index < patterns.size(); ++index) {
    const size_t size = patterns[index].size();
    const bool is_simple = patterns[index].find('*') == patterns[index].rfind('*');
    (is_simple ? simple_bytes : other_bytes) += size;
    if (size == 0 || size > Layout::kMaxNameBytes) {
      return MakeError(
          reason,
          absl::StrCat("a pattern has ", size, " bytes, allowed: 1 to ", Layout::kMaxNameBytes),
          field_of(index));
    }
  }
  uint64_t name_bytes = 0;
  for (const TensorSpec& tensor : layout.tensors()) name_bytes += tensor.name.size();
  const uint64_t matching = simple_bytes * layout.tensors().size() + other_bytes * name_bytes;
  if (matching > kMaxMatching) {
    return MakeError(reason,
                     absl::StrCat("to match patterns of ", simple_bytes + other_bytes,
                                  " bytes with names of ", name_bytes, " bytes takes up to ",
                                  matching, " comparisons, allowed: ", kMaxMatching),
                     list);
  }
  std::vector<size_t> matches(layout.tensors().size(), kNoPattern);
  std::vector<bool> used(patterns.size());
  for (size_t tensor = 0; tensor < matches.size(); ++tensor) {
    for (size_t index = 0; index < patterns.size(); ++index) {
      if (!MatchesPattern(patterns[index], layout.tensors()[tensor].name)) continue;
      matches[tensor] = index;
      used[index] = true;
      break;
    }
  }
  for (size_t index = 0; index < patterns.size(); ++index) {
    if (used[index]) continue;
    return MakeError(reason,
                     absl::StrCat("pattern \"", patterns[index],
                                  "\" takes no tensor: none matches, or earlier ones take them"),
                     field_of(index));
  }
  return matches;
}

}  // namespace talweg::core
