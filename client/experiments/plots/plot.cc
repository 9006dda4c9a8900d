// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/svg.h"

namespace talweg {
namespace {

// Pixels.
constexpr double kWidth = 860;
constexpr double kHeight = 500;
constexpr double kLeft = 78;
constexpr double kRight = 24;
constexpr double kTop = 56;
constexpr double kBottom = 62;
constexpr double kLegendMargin = 8;
constexpr double kMaxPoints = 1000;
constexpr double kZeroHeight = 30;  // from the axis, where 0 lies, to the smallest value above 0
constexpr size_t kLeastTicks = 4;   // of a logarithmic vertical axis

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

// Where a point lies, in pixels.
struct Frame {
  svg::Scale x;
  svg::Scale y;

  bool Drawable(double at, double value) const {
    return std::isfinite(value) && (!y.log || value >= 0) && (!x.log || at > 0);
  }
  // The height of a value that can be drawn. 0 has no logarithm, and lies on the axis below.
  double Height(double value) const { return y.log && value == 0 ? y.begin : y(value); }
};

// Whether a 0 is drawn on a logarithmic vertical axis.
bool HasZero(const Frame& frame, absl::Span<const Curve> curves) {
  if (!frame.y.log) return false;
  for (const Curve& curve : curves) {
    for (size_t i = 0; i < curve.x.size(); ++i) {
      if (curve.y[i] == 0 && frame.Drawable(curve.x[i], 0)) return true;
    }
  }
  return false;
}

Frame FrameOf(const PlotText& text, absl::Span<const Curve> curves) {
  Frame frame;
  frame.x.log = text.log_x;
  frame.y.log = !text.linear_y;
  Range x;
  Range y;
  if (!text.log_x) x.Add(0);
  for (const Curve& curve : curves) {
    for (size_t i = 0; i < curve.x.size(); ++i) {
      if (!frame.Drawable(curve.x[i], curve.y[i])) continue;
      x.Add(curve.x[i]);
      if (text.linear_y || curve.y[i] > 0) y.Add(curve.y[i]);
    }
  }
  if (x.empty()) x = {1, 10};
  if (y.empty()) y = {0.1, 1};
  if (x.low == x.high) x.high += 1;
  // A margin, so that no line runs along the edge.
  if (text.linear_y) {
    const double margin = std::max(0.04 * (y.high - y.low), 1e-9 + 0.02 * std::abs(y.high));
    y = {y.low - margin, y.high + margin};
  } else {
    const double margin = std::max(std::pow(y.high / y.low, 0.04), 1.02);
    y = {y.low / margin, y.high * margin};
    // Below the smallest value, room for 0 and for its tick.
    if (HasZero(frame, curves)) {
      const double share = kZeroHeight / (kHeight - kBottom - kTop - kZeroHeight);
      y.low /= std::pow(y.high / y.low, share);
    }
  }
  frame.x = {x.low, x.high, kLeft, kWidth - kRight, text.log_x};
  frame.y = {y.low, y.high, kHeight - kBottom, kTop, !text.linear_y};
  return frame;
}

// The label of an axis.
std::string Label(const std::string& label, const svg::Scale& scale) {
  return scale.log && !label.empty() ? absl::StrCat(label, " (log scale)") : label;
}

// `zero`: whether the bottom of a logarithmic vertical axis is marked as 0.
std::string Axes(const Frame& frame, const PlotText& text, bool zero) {
  const double bottom = kHeight - kBottom;
  const double right = kWidth - kRight;
  std::string picture;
  std::vector<double> x_ticks = text.x_ticks;
  if (x_ticks.empty()) {
    x_ticks = frame.x.log ? LogTicks(frame.x.low, frame.x.high)
                          : LinearTicks(frame.x.low, frame.x.high, 8);
  }
  for (const double tick : x_ticks) {
    const double x = frame.x(tick);
    if (frame.x.log) picture += svg::Line(x, kTop, x, bottom, "#E4E4E4", 1);
    picture += svg::Line(x, bottom, x, bottom + 5, "#444444", 1);
    picture += svg::Text(x, bottom + 21, "middle", svg::TickText(tick));
  }
  if (zero) picture += svg::Text(kLeft - 9, bottom + 4.5, "end", "0");
  for (const double tick : frame.y.log ? LogTicks(frame.y.low, frame.y.high, kLeastTicks)
                                       : LinearTicks(frame.y.low, frame.y.high, 8)) {
    if (zero && bottom - frame.y(tick) < kZeroHeight / 2) continue;
    picture += svg::Line(kLeft, frame.y(tick), right, frame.y(tick), "#E4E4E4", 1);
    picture += svg::Text(kLeft - 9, frame.y(tick) + 4.5, "end", svg::TickText(tick));
  }
  picture += svg::Line(kLeft, kTop, kLeft, bottom, "#444444", 1);
  picture += svg::Line(kLeft, bottom, right, bottom, "#444444", 1);
  picture += svg::Text(kLeft, 32, "start", text.title, " font-size=\"17\" font-weight=\"bold\"");
  picture += svg::Text((kLeft + right) / 2, kHeight - 16, "middle", Label(text.x_label, frame.x));
  const double middle = (kTop + bottom) / 2;
  picture += svg::Text(20, middle, "middle", Label(text.y_label, frame.y),
                       absl::StrFormat(" transform=\"rotate(-90 20 %.1f)\"", middle));
  return picture;
}

std::string Polyline(const Frame& frame, const Curve& curve, absl::string_view colour) {
  const double stride = (frame.x.end - frame.x.begin) / kMaxPoints;
  std::string path;
  bool drawing = false;
  double last = -stride;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (!frame.Drawable(curve.x[i], curve.y[i])) {
      drawing = false;
      continue;
    }
    const double x = frame.x(curve.x[i]);
    if (drawing && x - last < stride && i + 1 != curve.x.size()) continue;
    absl::StrAppendFormat(&path, "%s%.1f %.1f", drawing ? "L" : "M", x, frame.Height(curve.y[i]));
    drawing = true;
    last = x;
  }
  std::string dots;
  for (size_t i = 0; curve.dots && i < curve.x.size(); ++i) {
    if (!frame.Drawable(curve.x[i], curve.y[i])) continue;
    absl::StrAppendFormat(&dots, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n",
                          frame.x(curve.x[i]), frame.Height(curve.y[i]), colour);
  }
  const std::string line = absl::StrFormat(
      "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%g\" "
      "stroke-linejoin=\"round\"%s/>\n",
      path, colour, curve.dashed ? 1.5 : 2.0, curve.dashed ? " stroke-dasharray=\"6 4\"" : "");
  return line + dots;
}

// Whether a box would hide a part of `curve`. Lines are looked at every few pixels.
bool Hides(const Frame& frame, const Curve& curve, double left, double top, double width,
           double height) {
  constexpr double kStride = 4;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (!frame.Drawable(curve.x[i], curve.y[i])) continue;
    const double x = frame.x(curve.x[i]);
    const double y = frame.Height(curve.y[i]);
    const bool first = i == 0 || !frame.Drawable(curve.x[i - 1], curve.y[i - 1]);
    const double dx = first ? 0 : frame.x(curve.x[i - 1]) - x;
    const double dy = first ? 0 : frame.Height(curve.y[i - 1]) - y;
    const double count = std::ceil(std::hypot(dx, dy) / kStride) + 1;
    for (double part = 0; part < count; ++part) {
      const double at_x = x + dx * part / count;
      const double at_y = y + dy * part / count;
      if (at_x >= left && at_x <= left + width && at_y >= top && at_y <= top + height) return true;
    }
  }
  return false;
}

std::vector<svg::LegendRow> LegendRows(absl::Span<const Curve> curves) {
  std::vector<svg::LegendRow> rows;
  for (size_t i = 0; i < curves.size(); ++i) {
    if (curves[i].name.empty()) continue;
    rows.push_back({curves[i].name, svg::Colour(curves[i].colour.value_or(i)), curves[i].dashed});
  }
  return rows;
}

// Where the legend's top left corner goes: the first corner of the frame where it hides nothing,
// else below the picture.
struct Place {
  double left = kLeft;
  double top = kHeight;
};

Place LegendPlace(const Frame& frame, absl::Span<const Curve> curves,
                  absl::Span<const svg::LegendRow> rows) {
  const double width = svg::LegendWidth(rows);
  const double height = svg::LegendHeight(rows);
  for (const double top : {kTop + kLegendMargin, kHeight - kBottom - height - kLegendMargin}) {
    for (const double left : {kWidth - kRight - width - kLegendMargin, kLeft + kLegendMargin}) {
      const bool hides = std::any_of(curves.begin(), curves.end(), [&](const Curve& curve) {
        return Hides(frame, curve, left, top, width, height);
      });
      if (!hides) return {left, top};
    }
  }
  return {};
}

}  // namespace

std::string PlotSvg(const PlotText& text, absl::Span<const Curve> curves) {
  const Frame frame = FrameOf(text, curves);
  const std::vector<svg::LegendRow> rows = LegendRows(curves);
  const Place place = LegendPlace(frame, curves, rows);
  const bool below = place.top >= kHeight;
  const double height = below ? kHeight + svg::LegendHeight(rows) + kLegendMargin : kHeight;
  std::string picture =
      svg::Open(kWidth, height, text.title) + Axes(frame, text, HasZero(frame, curves));
  for (size_t i = 0; i < curves.size(); ++i) {
    picture += Polyline(frame, curves[i], svg::Colour(curves[i].colour.value_or(i)));
  }
  return picture + svg::Legend(place.left, place.top, rows) + "</svg>\n";
}

std::vector<double> Smooth(absl::Span<const double> values, double window) {
  const double keep = 1 - 1 / window;
  double sum = 0;
  double weight = 0;
  std::vector<double> smooth;
  smooth.reserve(values.size());
  for (const double value : values) {
    sum = keep * sum + value;
    weight = keep * weight + 1;
    smooth.push_back(sum / weight);
  }
  return smooth;
}

std::vector<double> LinearTicks(double low, double high, int count) {
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  std::vector<double> ticks;
  // By index, so that no error adds up; a hair of slack for the ends.
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) {
    ticks.push_back(i * step + 0.0);  // no negative zero
  }
  return ticks;
}

std::vector<double> LogTicks(double low, double high, size_t least) {
  // The multiples of each power of ten that are marked, the fewest first.
  const std::vector<double> choices[] = {{1}, {1, 2, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  const size_t first = high / low > 1e4 ? 0 : 1;
  for (size_t choice = first; choice < std::size(choices); ++choice) {
    std::vector<double> ticks;
    for (double power = std::floor(std::log10(low)); power <= std::ceil(std::log10(high));
         ++power) {
      for (const double factor : choices[choice]) {
        const double tick = factor * std::pow(10, power);
        if (tick >= low && tick <= high) ticks.push_back(tick);
      }
    }
    if (ticks.size() >= least) return ticks;
  }
  return LinearTicks(low, high, 8);
}

}  // namespace talweg
