// SPDX-License-Identifier: Apache-2.0
#include "client/cli/experiment_support.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace talweg {

absl::Status Mistyped(const absl::Status& status) {
  const bool mistyped = absl::IsInvalidArgument(status) && ReasonOf(status).empty();
  return mistyped && !IsUsageError(status) ? UsageError(status.message()) : status;
}

absl::StatusOr<ExperimentServer> ServerOfExperiment(const Arguments& arguments) {
  absl::StatusOr<std::string> named = ServerAsAsked(arguments);
  if (!named.ok()) return named.status();
  if (!named->empty()) return ExperimentServer{*std::move(named), nullptr};
  absl::StatusOr<std::unique_ptr<OwnServer>> own = OwnServer::Start();
  if (!own.ok()) return own.status();
  Tell(absl::StrCat("no server is named: started one at ", (*own)->address(),
                    ", which ends with this experiment"));
  return ExperimentServer{(*own)->address(), *std::move(own)};
}

absl::StatusOr<std::optional<absl::Duration>> TimeOf(const Arguments& arguments,
                                                     const std::string& flag) {
  if (!arguments.Has(flag)) return std::nullopt;
  const std::string text = arguments.Text(flag);
  absl::Duration time;
  if (absl::ParseDuration(text, &time)) return time;
  return UsageError(
      absl::StrCat("--", flag, " takes a time such as 5s or 20ms, not \"", text, "\""));
}

absl::Status ReadWhole(const Arguments& arguments, absl::Span<const WholeFlag> flags) {
  for (const auto& [flag, value] : flags) {
    const auto number = arguments.Whole(flag);
    if (!number.ok()) return number.status();
    value = number->value_or(value);
  }
  return absl::OkStatus();
}

}  // namespace talweg
