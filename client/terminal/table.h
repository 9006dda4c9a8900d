// SPDX-License-Identifier: Apache-2.0
//
// Aligned text: tables, and numbers as a person reads them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace talweg {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Rows of text under titles. A value. Widths count the characters, not the bytes, of UTF-8.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // `cells` has one text for each column.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // The titles (left out if all are empty), then the rows. Each line is ended.
  std::string Text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// "1,234,567".
std::string GroupDigits(uint64_t value);
// How many characters a UTF-8 text has.
size_t TextWidth(absl::string_view text);

}  // namespace talweg
