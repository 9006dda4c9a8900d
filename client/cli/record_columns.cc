// SPDX-License-Identifier: Apache-2.0
#include "client/cli/record_columns.h"

#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace talweg {
namespace {

using v1::StepRecord;

std::string TimeText(const StepRecord& record, const char* format) {
  return absl::FormatTime(
      format,
      absl::FromUnixSeconds(record.time().seconds()) + absl::Nanoseconds(record.time().nanos()),
      absl::UTCTimeZone());
}

// The shortest digits that name this float64.
std::string Exactly(double value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof(digits), value).ptr};
}

}  // namespace

const std::vector<RecordColumn>& RecordColumns() {
  using Value = std::optional<double>;
  static const auto& columns = *new std::vector<RecordColumn>{
      {"loss",
       [](const StepRecord& r) {
         return r.report().has_loss() ? Value(r.report().loss()) : std::nullopt;
       }},
      {"learning_rate", [](const StepRecord& r) { return Value(r.report().learning_rate()); }},
      {"gradient_norm", [](const StepRecord& r) { return Value(r.report().gradient_norm()); }},
      {"update_norm", [](const StepRecord& r) { return Value(r.report().update_norm()); }},
      {"clip_factor", [](const StepRecord& r) { return Value(r.report().clip_factor()); }},
      {"staleness", [](const StepRecord& r) { return Value(r.report().staleness()); }},
      {"contributors", [](const StepRecord& r) { return Value(r.report().contributors()); }},
      {"total_weight", [](const StepRecord& r) { return Value(r.report().total_weight()); }},
      {"num_late", [](const StepRecord& r) { return Value(r.report().num_late()); }},
      {"step_seconds", [](const StepRecord& r) { return Value(r.step_seconds()); }},
      {"seconds_since_last", [](const StepRecord& r) { return Value(r.seconds_since_last()); }},
  };
  return columns;
}

double RecordSeconds(const StepRecord& record) {
  return static_cast<double>(record.time().seconds()) + record.time().nanos() * 1e-9;
}

std::string RecordLine(const StepRecord& record) {
  std::string line = absl::StrCat("version=", record.version(),
                                  " time=", TimeText(record, "%Y-%m-%dT%H:%M:%E3SZ"));
  for (const RecordColumn& column : RecordColumns()) {
    const std::optional<double> value = column.value(record);
    if (value.has_value()) absl::StrAppendFormat(&line, " %s=%.6g", column.name, *value);
  }
  return line;
}

std::string RecordsCsv(absl::Span<const StepRecord> records) {
  std::string csv = "version,time";
  for (const RecordColumn& column : RecordColumns()) absl::StrAppend(&csv, ",", column.name);
  csv += "\n";
  for (const StepRecord& record : records) {
    absl::StrAppend(&csv, record.version(), ",", TimeText(record, "%Y-%m-%dT%H:%M:%E6SZ"));
    for (const RecordColumn& column : RecordColumns()) {
      const std::optional<double> value = column.value(record);
      absl::StrAppend(&csv, ",", value.has_value() ? Exactly(*value) : "");
    }
    csv += "\n";
  }
  return csv;
}

}  // namespace talweg
