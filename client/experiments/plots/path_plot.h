// SPDX-License-Identifier: Apache-2.0
//
// Paths through the plane over the level lines of a quadratic, as SVG. The panels stand one below
// the other, each with axes of its own, so that one panel may enlarge a part of another.
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

// What one panel shows. All that lies outside is cut off.
struct PathPanel {
  std::string title;
  double x_low = 0;
  double x_high = 1;
  double y_low = 0;
  double y_high = 1;
  size_t num_points = 0;  // how many points of each path are drawn, from its start; 0: all
  bool dots = false;      // whether each point has a dot
};

struct PathPlotText {
  std::string title;
  std::string x_label;
  std::string y_label;
};

// Draws every panel with all level lines and paths. A cross marks (minimum_x, minimum_y). The names
// stand in a legend in the first panel.
std::string PathPlotSvg(const PathPlotText& text, absl::Span<const PathPanel> panels,
                        absl::Span<const LevelLine> levels, absl::Span<const Path> paths,
                        double minimum_x, double minimum_y);

}  // namespace talweg
