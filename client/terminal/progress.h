// SPDX-License-Identifier: Apache-2.0
//
// A progress bar: on a terminal one line that is redrawn, elsewhere a plain line now and then.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace talweg {

// Thread-compatible. Borrows `out`.
class Progress {
 public:
  // `label` stands first; `total` (> 0) is the number of steps. With `redraw` the line is drawn
  // over itself, at most ten times a second; without it a new line is written every 10 s.
  Progress(std::FILE* out, bool redraw, absl::string_view label, uint64_t total);
  // Whether it is time to draw. A caller makes the detail only then.
  bool Due(absl::Time now) const { return now >= next_; }
  // Draws `done` of `total` steps and `detail` behind them.
  void Draw(uint64_t done, absl::string_view detail, absl::Time now);
  // Draws the last state and ends the line.
  void Finish(uint64_t done, absl::string_view detail);

 private:
  std::string Line(uint64_t done, absl::string_view detail) const;

  std::FILE* const out_;
  const bool redraw_;
  const std::string label_;
  const uint64_t total_;
  absl::Time next_ = absl::InfinitePast();
};

// Whether `file` is a terminal that can redraw a line.
bool IsTerminal(std::FILE* file);

}  // namespace talweg
