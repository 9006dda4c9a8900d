// SPDX-License-Identifier: Apache-2.0
#include "core/session/parameter_groups.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/name_pattern.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {

absl::StatusOr<absl::string_view> RoleAskedFor(const Config& group,
                                               absl::Span<const absl::string_view> roles) {
  absl::string_view asked;
  for (const absl::string_view role : roles) {
    if (!std::get<bool>(group.Get(role))) continue;
    if (!asked.empty()) {
      return MakeError(
          Reason::kFieldOutOfRange,
          absl::StrCat("a group has one role, this one asks for ", asked, " and for ", role), role);
    }
    asked = role;
  }
  return asked;
}

GroupMap::GroupMap(const Layout& layout)
    : num_elements_(layout.num_elements()), group_of_tensor_(layout.tensors().size()) {
  MakeRuns(layout);
}

absl::StatusOr<GroupMap> GroupMap::Create(const Layout& layout,
                                          absl::Span<const ParameterGroup> groups) {
  GroupMap map(layout);
  map.num_groups_ = groups.size() + 1;
  std::vector<absl::string_view> patterns;
  patterns.reserve(groups.size());
  for (const ParameterGroup& group : groups) patterns.emplace_back(group.tensors);
  TALWEG_ASSIGN_OR_RETURN(const std::vector<size_t> group_of_tensor,
                          MatchTensors(layout, patterns, Reason::kFieldOutOfRange, "groups"));
  for (size_t tensor = 0; tensor < group_of_tensor.size(); ++tensor) {
    if (group_of_tensor[tensor] == kNoPattern) continue;
    map.group_of_tensor_[tensor] = static_cast<uint32_t>(group_of_tensor[tensor] + 1);
  }
  map.MakeRuns(layout);
  return map;
}

void GroupMap::MakeRuns(const Layout& layout) {
  runs_.clear();
  for (size_t tensor = 0; tensor < group_of_tensor_.size(); ++tensor) {
    const uint64_t end = layout.offsets()[tensor] + layout.size_of(tensor);
    if (!runs_.empty() && runs_.back().group == group_of_tensor_[tensor]) {
      runs_.back().end = end;
    } else {
      runs_.push_back({end, group_of_tensor_[tensor]});
    }
  }
}

size_t GroupMap::RunAt(uint64_t element) const {
  const auto run = std::upper_bound(runs_.begin(), runs_.end(), element,
                                    [](uint64_t e, const Run& r) { return e < r.end; });
  return static_cast<size_t>(run - runs_.begin());
}

}  // namespace talweg::core
