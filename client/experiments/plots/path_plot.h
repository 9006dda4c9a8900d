// SPDX-License-Identifier: Apache-2.0
//
// Paths through the plane over the level lines of a quadratic, as SVG: panels one below the other,
// each with axes of its own, so that one may enlarge a part of another.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace talweg {

// Points in their order; `x` and `y` have the same size.
struct Path {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;
  double width = 2;  // of its line, in pixels
};

// A level line: an ellipse around (x, y) with its axes along the picture's.
struct LevelLine {
  double x = 0;
  double y = 0;
  double x_radius = 1;
  double y_radius = 1;
};

// What one panel shows. Whatever lies outside is cut off.
struct PathPanel {
  std::string title;
  double x_low = 0;
  double x_high = 1;
  double y_low = 0;
  double y_high = 1;
  size_t num_points = 0;  // of each path, the first of them; 0: all
  bool dots = false;      // a dot at each point
};

struct PathPlotText {
  std::string title;
  std::string x_label;
  std::string y_label;
};

// Draws every panel with all level lines and paths; a cross marks (minimum_x, minimum_y). The names
// stand in a legend of the first panel.
std::string PathPlotSvg(const PathPlotText& text, absl::Span<const PathPanel> panels,
                        absl::Span<const LevelLine> levels, absl::Span<const Path> paths,
                        double minimum_x, double minimum_y);

}  // namespace talweg
