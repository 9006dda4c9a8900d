// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace talweg {
namespace {

constexpr absl::string_view kGap = "  ";

void AppendCell(absl::string_view text, size_t width, Align align, std::string& line) {
  const std::string padding(width - TextWidth(text), ' ');
  if (align == Align::kRight) line += padding;
  line.append(text.data(), text.size());
  if (align == Align::kLeft) line += padding;
}

}  // namespace

std::string Table::Text() const {
  std::vector<size_t> widths;
  std::vector<std::string> titles;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(TextWidth(column.title));
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], TextWidth(row[i]));
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line.append(kGap.data(), kGap.size());
      AppendCell(cells[i], widths[i], columns_[i].align, line);
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  };
  const bool titled = std::any_of(titles.begin(), titles.end(),
                                  [](const std::string& title) { return !title.empty(); });
  if (titled) append(titles);
  for (const auto& row : rows_) append(row);
  return text;
}

std::string GroupDigits(uint64_t value) {
  const std::string digits = absl::StrCat(value);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

size_t TextWidth(absl::string_view text) {
  // Every byte but those that continue a character.
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace talweg
