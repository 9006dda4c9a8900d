// SPDX-License-Identifier: Apache-2.0
#include "core/base/dialect.h"

#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace talweg::core {
namespace {

constexpr absl::string_view kNames[] = {"TORCH", "KERAS", "PAPER", "TUTORIAL", "FEDERATED"};

}  // namespace

absl::string_view DialectName(Dialect dialect) {
  const auto index = static_cast<size_t>(dialect);
  TALWEG_CHECK(index < std::size(kNames));
  return kNames[index];
}

std::optional<Dialect> DialectFromName(absl::string_view name) {
  for (size_t index = 0; index < std::size(kNames); ++index) {
    if (kNames[index] == name) return static_cast<Dialect>(index);
  }
  return std::nullopt;
}

std::string DialectSet::Text() const {
  std::vector<std::string> names;
  for (size_t index = 0; index < std::size(kNames); ++index) {
    if (Contains(static_cast<Dialect>(index))) names.emplace_back(kNames[index]);
  }
  std::string text;
  for (size_t index = 0; index < names.size(); ++index) {
    if (index > 0) absl::StrAppend(&text, index + 1 == names.size() ? " or " : ", ");
    absl::StrAppend(&text, names[index]);
  }
  return text;
}

}  // namespace talweg::core
