// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plot.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace talweg {
namespace {

// Pixels.
constexpr double kWidth = 860;
constexpr double kHeight = 500;
constexpr double kLeft = 78;
constexpr double kRight = 24;
constexpr double kTop = 56;
constexpr double kBottom = 62;
constexpr size_t kMaxPoints = 1000;

// Told apart by eyes of every kind (Okabe, Ito 2008), the darkest first.
constexpr absl::string_view kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                          "#E69F00", "#56B4E9", "#000000"};

bool Drawable(double y) { return std::isfinite(y) && y > 0; }

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
  Range x;
  Range y;
  double X(double value) const {
    return kLeft + (value - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    const double share = std::log(value / y.low) / std::log(y.high / y.low);
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

Frame FrameOf(absl::Span<const Curve> curves) {
  Frame frame;
  frame.x.Add(0);
  for (const Curve& curve : curves) {
    for (size_t i = 0; i < curve.x.size(); ++i) {
      if (!Drawable(curve.y[i])) continue;
      frame.x.Add(curve.x[i]);
      frame.y.Add(curve.y[i]);
    }
  }
  if (frame.y.empty()) frame = {{0, 1}, {0.1, 1}};
  if (frame.x.low == frame.x.high) frame.x.high += 1;
  // A margin, so that no line runs along the edge.
  const double margin = std::max(std::pow(frame.y.high / frame.y.low, 0.04), 1.02);
  frame.y.low /= margin;
  frame.y.high *= margin;
  return frame;
}

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

std::string Text(double x, double y, absl::string_view anchor, absl::string_view text,
                 absl::string_view more = "") {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y,
                         anchor, more, Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, absl::string_view colour,
                 double width) {
  return absl::StrFormat(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
      "stroke-width=\"%g\"/>\n",
      x1, y1, x2, y2, colour, width);
}

std::string Axes(const Frame& frame, const PlotText& text) {
  const double bottom = kHeight - kBottom;
  const double right = kWidth - kRight;
  std::string svg;
  for (const double tick : LinearTicks(frame.x.low, frame.x.high, 8)) {
    svg += Line(frame.X(tick), bottom, frame.X(tick), bottom + 5, "#444444", 1);
    svg += Text(frame.X(tick), bottom + 21, "middle", absl::StrFormat("%g", tick));
  }
  for (const double tick : LogTicks(frame.y.low, frame.y.high)) {
    svg += Line(kLeft, frame.Y(tick), right, frame.Y(tick), "#E4E4E4", 1);
    svg += Text(kLeft - 9, frame.Y(tick) + 4.5, "end", absl::StrFormat("%g", tick));
  }
  svg += Line(kLeft, kTop, kLeft, bottom, "#444444", 1);
  svg += Line(kLeft, bottom, right, bottom, "#444444", 1);
  svg += Text(kLeft, 32, "start", text.title, " font-size=\"17\" font-weight=\"bold\"");
  svg += Text((kLeft + right) / 2, kHeight - 16, "middle", text.x_label);
  const double middle = (kTop + bottom) / 2;
  svg += Text(20, middle, "middle", text.y_label,
              absl::StrFormat(" transform=\"rotate(-90 20 %.1f)\"", middle));
  return svg;
}

std::string Polyline(const Frame& frame, const Curve& curve, absl::string_view colour) {
  const size_t stride = std::max<size_t>(1, (curve.x.size() + kMaxPoints - 1) / kMaxPoints);
  std::string path;
  bool drawing = false;
  for (size_t i = 0; i < curve.x.size(); ++i) {
    if (i % stride != 0 && i + 1 != curve.x.size()) continue;
    if (!Drawable(curve.y[i])) {
      drawing = false;
      continue;
    }
    absl::StrAppendFormat(&path, "%s%.1f %.1f", drawing ? "L" : "M", frame.X(curve.x[i]),
                          frame.Y(curve.y[i]));
    drawing = true;
  }
  return absl::StrFormat(
      "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
      "stroke-linejoin=\"round\"/>\n",
      path, colour);
}

std::string Legend(absl::Span<const Curve> curves) {
  size_t longest = 0;
  for (const Curve& curve : curves) longest = std::max(longest, curve.name.size());
  const double width = 56 + 8.0 * static_cast<double>(longest);
  const double left = kWidth - kRight - width - 8;
  std::string svg = absl::StrFormat(
      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#FFFFFF\" "
      "fill-opacity=\"0.9\" stroke=\"#CCCCCC\"/>\n",
      left, kTop + 8, width, 12.0 + 22.0 * static_cast<double>(curves.size()));
  for (size_t i = 0; i < curves.size(); ++i) {
    const double y = kTop + 25 + 22.0 * static_cast<double>(i);
    svg += Line(left + 12, y, left + 40, y, kColours[i % std::size(kColours)], 3);
    svg += Text(left + 48, y + 4.5, "start", curves[i].name);
  }
  return svg;
}

}  // namespace

std::string PlotSvg(const PlotText& text, absl::Span<const Curve> curves) {
  const Frame frame = FrameOf(curves);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
      "viewBox=\"0 0 %g %g\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
      "font-size=\"13\" fill=\"#222222\" role=\"img\">\n<title>%s</title>\n<rect width=\"100%%\" "
      "height=\"100%%\" "
      "fill=\"#FFFFFF\"/>\n",
      kWidth, kHeight, kWidth, kHeight, Escape(text.title));
  svg += Axes(frame, text);
  for (size_t i = 0; i < curves.size(); ++i) {
    svg += Polyline(frame, curves[i], kColours[i % std::size(kColours)]);
  }
  svg += Legend(curves);
  return svg + "</svg>\n";
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

std::vector<double> LogTicks(double low, double high) {
  const bool few = high / low > 1e4;
  std::vector<double> ticks;
  for (double power = std::floor(std::log10(low)); power <= std::ceil(std::log10(high)); ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10, power);
      if (tick >= low && tick <= high && (!few || factor == 1.0)) ticks.push_back(tick);
    }
  }
  return ticks;
}

}  // namespace talweg
