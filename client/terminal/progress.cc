// SPDX-License-Identifier: Apache-2.0
#include "client/terminal/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/terminal/screen.h"

namespace talweg {
namespace {

constexpr int kBarCells = 24;
constexpr absl::Duration kRedrawEvery = absl::Milliseconds(100);
constexpr absl::Duration kLineEvery = absl::Seconds(10);

std::string Bar(double share) {
  const int full = std::clamp(static_cast<int>(share * kBarCells), 0, kBarCells);
  std::string bar;
  for (int i = 0; i < kBarCells; ++i) bar += i < full ? "━" : "─";
  return bar;
}

}  // namespace

Progress::Progress(std::FILE* out, bool redraw, absl::string_view label, uint64_t total)
    : out_(out), redraw_(redraw), label_(label), total_(total) {}

std::string Progress::Line(uint64_t done, absl::string_view detail) const {
  const double share = static_cast<double>(done) / static_cast<double>(total_);
  return absl::StrFormat("%s  %s%3.0f %%  %s", label_, redraw_ ? Bar(share) + " " : "", 100 * share,
                         detail);
}

void Progress::Draw(uint64_t done, absl::string_view detail, absl::Time now) {
  next_ = now + (redraw_ ? kRedrawEvery : kLineEvery);
  const std::string line = Line(done, detail);
  if (redraw_) {
    // Back to the start, clear the line, never wrap.
    absl::FPrintF(out_, "\r\x1b[K%s", CutToWidth(line, SizeOfTerminal(out_).columns - 1));
  } else {
    absl::FPrintF(out_, "%s\n", line);
  }
  std::fflush(out_);
}

void Progress::Finish(uint64_t done, absl::string_view detail) {
  Draw(done, detail, absl::InfiniteFuture());
  if (redraw_) std::fputs("\n", out_);
  std::fflush(out_);
}

bool IsTerminal(std::FILE* file) {
  const char* term = std::getenv("TERM");
  return isatty(fileno(file)) != 0 && term != nullptr && absl::string_view(term) != "dumb";
}

}  // namespace talweg
