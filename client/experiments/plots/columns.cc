// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/columns.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/experiments/plots/report_files.h"

namespace talweg {

Cell Whole(uint64_t value) {
  const std::string text = absl::StrCat(value);
  return {text, text};
}

Cell Number(const absl::FormatSpec<double>& format, double value) {
  const std::string text = absl::StrFormat(format, value);
  return {text, std::isfinite(value) ? text : "null"};
}

Cell Word(absl::string_view text) { return {std::string(text), Quoted(text)}; }

Cell QuotedWord(absl::string_view text) { return {absl::StrCat("\"", text, "\""), Quoted(text)}; }

Cell YesNo(bool value) { return {value ? "1" : "0", value ? "true" : "false"}; }

namespace columns_internal {

std::string CsvHeader(absl::Span<const std::string> names) {
  return absl::StrCat(absl::StrJoin(names, ","), "\n");
}

std::string CsvLine(absl::Span<const Cell> row) {
  return absl::StrCat(
      absl::StrJoin(row, ",",
                    [](std::string* out, const Cell& cell) { absl::StrAppend(out, cell.csv); }),
      "\n");
}

std::string JsonRow(absl::Span<const std::string> names, absl::Span<const Cell> row) {
  std::string object = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StrAppend(&object, i == 0 ? "" : ", ", Quoted(names[i]), ": ", row[i].json);
  }
  return object + "}";
}

}  // namespace columns_internal
}  // namespace talweg
