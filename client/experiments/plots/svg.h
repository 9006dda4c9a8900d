// SPDX-License-Identifier: Apache-2.0
//
// Pieces of SVG that the plots share: text, lines, ticks, legends, colours. Lengths are in pixels;
// the origin is the top left corner.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg::svg {

// From a value to a pixel, along one axis.
struct Scale {
  double low = 0;  // value at `begin`; > 0 if `log`
  double high = 1;
  double begin = 0;  // pixels
  double end = 1;
  bool log = false;

  double operator()(double value) const;
};

// A name in a legend, beside a line of its colour.
struct LegendRow {
  std::string name;
  std::string colour;
  bool dashed = false;
};

inline constexpr double kRowHeight = 22;  // of a legend

// Opens a picture with a white ground; close it with "</svg>\n". `title` is read out to people who
// cannot see the picture.
std::string Open(double width, double height, absl::string_view title);
// `anchor`: "start", "middle" or "end"; `more`: further attributes, with a space before them.
std::string Text(double x, double y, absl::string_view anchor, absl::string_view text,
                 absl::string_view more = "");
std::string Line(double x1, double y1, double x2, double y2, absl::string_view colour, double width,
                 bool dashed = false);
std::string Legend(double left, double top, absl::Span<const LegendRow> rows);
double LegendWidth(absl::Span<const LegendRow> rows);
double LegendHeight(absl::Span<const LegendRow> rows);

// The `index`-th of the colours, which start over after seven.
std::string Colour(size_t index);
// "0.5", "2000", and powers of ten outside [1e-3, 1e5] as a person writes them.
std::string TickText(double tick);

}  // namespace talweg::svg
