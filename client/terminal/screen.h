// SPDX-License-Identifier: Apache-2.0
//
// A page that is redrawn in place. It is drawn on the terminal's alternate screen, so that neither
// a change of the window's size nor a line that is too long can leave anything behind. After Close
// the terminal is as it was, and the last page stands below what was there.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace talweg {

struct TerminalSize {
  size_t columns = 80;
  size_t rows = 24;
};

// The size of the terminal behind `file` as it is now; 80 by 24 if the terminal does not say.
TerminalSize SizeOfTerminal(std::FILE* file);

// The first `width` characters of a UTF-8 text.
absl::string_view CutToWidth(absl::string_view text, size_t width);

// Thread-compatible. Borrows `out`, a terminal.
class Screen {
 public:
  explicit Screen(std::FILE* out);
  // Closes the page, if that was not done.
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Draws `lines` from the top over what was there, cut to the terminal's size.
  void Draw(const std::vector<std::string>& lines, TerminalSize size);
  // Puts the terminal back as it was, with the last page below what was there.
  void Close();

 private:
  std::FILE* const out_;
  std::vector<std::string> last_;
  size_t last_columns_ = 80;
  bool open_ = true;
};

}  // namespace talweg
