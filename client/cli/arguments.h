// SPDX-License-Identifier: Apache-2.0
//
// The arguments of a command: positional ones, and the flags that its table names.
//
//   talweg pull ID --output FILE          --output=FILE is the same; flags may stand anywhere;
//                                         --dry-run is --dry_run
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// One flag of a command.
struct Flag {
  std::string name;   // without the dashes
  std::string value;  // the word for its value in the help, "FILE"; empty: the flag takes no value
  std::string help;
  bool repeatable = false;  // may be given more than once; else that is an error
};

// An error of the command line itself, which ends the program with exit code 2.
absl::Status UsageError(absl::string_view text);
bool IsUsageError(const absl::Status& status);

// What was typed. A value.
class Arguments {
 public:
  // Sorts `words` by `flags`. Exactly `num_positionals` words must stand beside the flags.
  // UsageError for an unknown flag, for a missing or an unwanted value, for a second value of a
  // flag that is not repeatable, or for another number of words.
  static absl::StatusOr<Arguments> Parse(absl::Span<const Flag> flags, size_t num_positionals,
                                         absl::Span<const std::string> words);

  const std::string& positional(size_t index) const { return positionals_[index]; }
  bool Has(const std::string& flag) const { return values_.count(flag) != 0; }
  // The value given (of a repeatable flag: the last one), or `otherwise`.
  std::string Text(const std::string& flag, const std::string& otherwise = "") const;
  // All values given, in their order.
  std::vector<std::string> Texts(const std::string& flag) const;
  // Numbers: nothing if the flag was not given, UsageError if the value is no such number.
  absl::StatusOr<std::optional<uint64_t>> Whole(const std::string& flag) const;
  absl::StatusOr<std::optional<double>> Number(const std::string& flag) const;

 private:
  std::vector<std::string> positionals_;
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace talweg
