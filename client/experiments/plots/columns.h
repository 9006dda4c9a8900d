// SPDX-License-Identifier: Apache-2.0
//
// The columns of a report. A report declares each column once, and gets from that a table for
// people, CSV and JSON for scripts, and a line of text.
//
//   const Columns<Run> columns({
//       {"method", [](const Run& r) { return Word(r.method); },
//        "method", Align::kLeft, [](const Run& r) { return r.method; }},
//       {"seconds", [](const Run& r) { return Number("%.3f", r.seconds); },
//        "wall s", Align::kRight, [](const Run& r) { return absl::StrFormat("%.1f", r.seconds);
//        }}});
//   columns.Csv(runs);  columns.Table(runs);  columns.JsonRows(runs);
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/terminal/table.h"

namespace talweg {

// One value as scripts read it.
struct Cell {
  std::string csv;
  std::string json;
};
Cell Whole(uint64_t value);
// With the digits that `format` says, in both. JSON has no number that is not finite: it gets null.
Cell Number(const absl::FormatSpec<double>& format, double value);
// A text that needs no quotes in CSV.
Cell Word(absl::string_view text);
// A text that stands in quotes in CSV too.
Cell QuotedWord(absl::string_view text);
// 1 or 0 in CSV.
Cell YesNo(bool value);

// One column. Without a `value` it is missing in CSV and JSON; without a `text`, in the table.
template <class Row>
struct ReportColumn {
  using Value = std::function<Cell(const Row& row)>;
  using Text = std::function<std::string(const Row& row)>;

  ReportColumn(std::string column_name, Value cell)
      : name(std::move(column_name)), value(std::move(cell)) {}
  ReportColumn(std::string column_name, Value cell, std::string title, Align alignment, Text words)
      : name(std::move(column_name)),
        value(std::move(cell)),
        heading(std::move(title)),
        align(alignment),
        text(std::move(words)) {}

  std::string name;  // in CSV and JSON
  Value value;
  std::string heading;  // of the table
  Align align = Align::kLeft;
  Text text;
};

namespace columns_internal {

// The line of the names, and that of a row; each is ended.
std::string CsvHeader(absl::Span<const std::string> names);
std::string CsvLine(absl::Span<const Cell> row);
// `{"name": value, ...}` for one row.
std::string JsonRow(absl::Span<const std::string> names, absl::Span<const Cell> row);

}  // namespace columns_internal

// A value. Thread-compatible, as its functions are.
template <class Row>
class Columns {
 public:
  explicit Columns(std::vector<ReportColumn<Row>> columns) : columns_(std::move(columns)) {}

  // The columns of these names, in this order.
  Columns Pick(absl::Span<const absl::string_view> names) const {
    std::vector<ReportColumn<Row>> picked;
    for (const absl::string_view name : names) {
      for (const ReportColumn<Row>& column : columns_) {
        if (column.name == name) picked.push_back(column);
      }
    }
    return Columns(std::move(picked));
  }

  // A header and one line per row, each line ended.
  std::string Csv(absl::Span<const Row> rows) const {
    std::string csv = columns_internal::CsvHeader(Names());
    for (const Row& row : rows) csv += columns_internal::CsvLine(Cells(row));
    return csv;
  }

  // One JSON object per row, each on one line, to be put into ReportJson.
  std::vector<std::string> JsonRows(absl::Span<const Row> rows) const {
    std::vector<std::string> objects;
    for (const Row& row : rows) objects.push_back(columns_internal::JsonRow(Names(), Cells(row)));
    return objects;
  }

  // Headings and rows for people, in this order.
  std::string Table(absl::Span<const Row> rows) const {
    talweg::Table table(Headings());
    for (const Row& row : rows) table.AddRow(Texts(row));
    return table.Text();
  }

  // What a table is made of, for a report that puts several side by side.
  std::vector<Column> Headings() const {
    std::vector<Column> headings;
    for (const ReportColumn<Row>& column : columns_) {
      if (column.text != nullptr) headings.push_back({column.heading, column.align});
    }
    return headings;
  }
  std::vector<std::string> Texts(const Row& row) const {
    std::vector<std::string> texts;
    for (const ReportColumn<Row>& column : columns_) {
      if (column.text != nullptr) texts.push_back(column.text(row));
    }
    return texts;
  }

  // "name=text name=text ..." of one row. A column whose text is empty is left out.
  std::string Line(const Row& row) const {
    std::string line;
    for (const ReportColumn<Row>& column : columns_) {
      const std::string text = column.text == nullptr ? "" : column.text(row);
      if (!text.empty()) line += (line.empty() ? "" : " ") + column.name + "=" + text;
    }
    return line;
  }

 private:
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const ReportColumn<Row>& column : columns_) {
      if (column.value != nullptr) names.push_back(column.name);
    }
    return names;
  }
  std::vector<Cell> Cells(const Row& row) const {
    std::vector<Cell> cells;
    for (const ReportColumn<Row>& column : columns_) {
      if (column.value != nullptr) cells.push_back(column.value(row));
    }
    return cells;
  }

  std::vector<ReportColumn<Row>> columns_;
};

}  // namespace talweg
