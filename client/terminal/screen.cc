// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace talweg {
namespace {

// Control sequences of every terminal there is since xterm.
constexpr absl::string_view kOpen = "\x1b[?1049h\x1b[?25l";   // other screen, no cursor
constexpr absl::string_view kClose = "\x1b[?25h\x1b[?1049l";  // cursor, first screen
constexpr absl::string_view kHome = "\x1b[H";
constexpr absl::string_view kClearLine = "\x1b[K";
constexpr absl::string_view kClearBelow = "\x1b[J";

void Write(absl::string_view text, std::FILE* out) {
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
}

}  // namespace

TerminalSize SizeOfTerminal(std::FILE* file) {
  winsize size{};
  if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

absl::string_view CutToWidth(absl::string_view text, size_t width) {
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end) {
    const bool starts = (text[end] & 0xc0) != 0x80;
    if (starts && seen++ == width) break;
  }
  return text.substr(0, end);
}

Screen::Screen(std::FILE* out) : out_(out) { Write(kOpen, out_); }

Screen::~Screen() { Close(); }

void Screen::Draw(const std::vector<std::string>& lines, TerminalSize size) {
  last_ = lines;
  last_columns_ = size.columns;
  // One write, so that no half of a page is seen.
  std::string page(kHome);
  const size_t num_lines = std::min(lines.size(), size.rows);
  for (size_t index = 0; index < num_lines; ++index) {
    // Cleared first: behind a line that fills the window, clearing would take its last character.
    absl::StrAppend(&page, index > 0 ? "\r\n" : "", kClearLine,
                    CutToWidth(lines[index], size.columns));
  }
  if (num_lines < size.rows) absl::StrAppend(&page, "\r\n", kClearBelow);
  Write(page, out_);
}

void Screen::Close() {
  if (!open_) return;
  open_ = false;
  std::string end(kClose);
  for (const std::string& line : last_) {
    absl::StrAppend(&end, CutToWidth(line, last_columns_), "\n");
  }
  Write(end, out_);
}

}  // namespace talweg
