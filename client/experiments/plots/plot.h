// SPDX-License-Identifier: Apache-2.0
//
// Line plots as SVG, with axes, ticks, grid and legend. The vertical axis is logarithmic, if it is
// not asked to be linear. The label of a logarithmic axis says that it is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace talweg {

// One line. `x` rises; `x` and `y` have the same size.
struct Curve {
  std::string name;  // in the legend; empty: the curve is not in it
  std::vector<double> x;
  std::vector<double> y;
  bool dashed = false;
  std::optional<size_t> colour = std::nullopt;  // unset: the curve's own position
  bool dots = false;                            // whether each point has a dot
};

struct PlotText {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;                // the horizontal axis is logarithmic too
  std::vector<double> x_ticks = {};  // values to mark on it; empty: round numbers
  bool linear_y = false;             // the vertical axis is linear
};

// Draws `curves`. The horizontal axis begins at zero, or is logarithmic. Values that are not finite
// leave a gap in their line. So do values that have no logarithm, on a logarithmic axis, except
// that a vertical one has the value 0 at its lower end, marked as 0. Lines of more than a thousand
// points are thinned out. The legend stands in a corner in which it hides nothing, else below.
std::string PlotSvg(const PlotText& text, absl::Span<const Curve> curves);

// Exponential moving average with `window` values of memory (>= 1), each average over what has
// come so far, so that it starts at the first value:  a_i = sum_j d^(i-j) v_j / sum_j d^(i-j),
// d = 1 - 1 / window.
std::vector<double> Smooth(absl::Span<const double> values, double window);

// Round numbers inside [low, high], about `count` of them: multiples of 1, 2 or 5 times a power of
// ten.
std::vector<double> LinearTicks(double low, double high, int count);
// 1, 2 and 5 times the powers of ten inside [low, high], both > 0; only the powers of ten if the
// range spans more than four of them. If these are fewer than `least`, all multiples of the powers
// of ten, and if these are too few as well, about eight LinearTicks.
std::vector<double> LogTicks(double low, double high, size_t least = 0);

}  // namespace talweg
