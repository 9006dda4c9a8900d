// SPDX-License-Identifier: Apache-2.0
#include "client/cli/arguments.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace talweg {
namespace {

constexpr absl::string_view kUsagePayload = "talweg/usage";

absl::Status NotANumber(const std::string& flag, absl::string_view kind, const std::string& got) {
  return UsageError(absl::StrCat("--", flag, " takes ", kind, ", not \"", got, "\""));
}

}  // namespace

absl::Status UsageError(absl::string_view text) {
  absl::Status status = absl::InvalidArgumentError(text);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

absl::StatusOr<Arguments> Arguments::Parse(absl::Span<const Flag> flags, size_t num_positionals,
                                           absl::Span<const std::string> words) {
  Arguments arguments;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!absl::StartsWith(word, "--")) {
      arguments.positionals_.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::replace(name.begin(), name.end(), '-', '_');
    const auto flag =
        std::find_if(flags.begin(), flags.end(), [&](const Flag& f) { return f.name == name; });
    if (flag == flags.end()) return UsageError(absl::StrCat("no flag --", name));
    std::string value;
    if (flag->value.empty()) {
      if (equals != std::string::npos) {
        return UsageError(absl::StrCat("--", name, " takes no value"));
      }
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (++i < words.size()) {
      value = words[i];
    } else {
      return UsageError(absl::StrCat("--", name, " needs a value: ", flag->value));
    }
    std::vector<std::string>& values = arguments.values_[name];
    // Twice the same flag without a value says nothing new.
    if (!values.empty() && !flag->repeatable && !flag->value.empty()) {
      return UsageError(
          absl::StrCat("--", name, " is given twice: ", values.back(), " and ", value));
    }
    values.push_back(value);
  }
  if (arguments.positionals_.size() < num_positionals) {
    return UsageError("too few arguments");
  }
  if (arguments.positionals_.size() > num_positionals) {
    return UsageError(
        absl::StrCat("unexpected argument \"", arguments.positionals_[num_positionals], "\""));
  }
  return arguments;
}

std::string Arguments::Text(const std::string& flag, const std::string& otherwise) const {
  const auto found = values_.find(flag);
  return found == values_.end() ? otherwise : found->second.back();
}

std::vector<std::string> Arguments::Texts(const std::string& flag) const {
  const auto found = values_.find(flag);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

absl::StatusOr<std::optional<uint64_t>> Arguments::Whole(const std::string& flag) const {
  if (!Has(flag)) return std::nullopt;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(Text(flag), &number)) {
    return NotANumber(flag, "a whole number", Text(flag));
  }
  return number;
}

absl::StatusOr<std::optional<double>> Arguments::Number(const std::string& flag) const {
  if (!Has(flag)) return std::nullopt;
  double number = 0;
  if (!absl::SimpleAtod(Text(flag), &number)) return NotANumber(flag, "a number", Text(flag));
  return number;
}

}  // namespace talweg
