// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/path_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/svg.h"

namespace talweg {
namespace {

// Pixels.
constexpr double kWidth = 860;
constexpr double kLeft = 78;
constexpr double kRight = 24;
constexpr double kTitle = 44;         // above the first panel
constexpr double kPanelTop = 34;      // of a panel's own title
constexpr double kPanelHeight = 300;  // of its frame
constexpr double kPanelBottom = 56;   // of ticks and label

struct Frame {
  svg::Scale x;
  svg::Scale y;
};

// A point far outside is drawn outside, but not so far that numbers overflow.
double Clamped(double pixel) { return std::clamp(pixel, -1e5, 1e5); }

std::string LevelLines(const Frame& frame, absl::Span<const LevelLine> levels) {
  std::string picture;
  for (const LevelLine& level : levels) {
    absl::StrAppendFormat(&picture,
                          "<ellipse cx=\"%.1f\" cy=\"%.1f\" rx=\"%.1f\" ry=\"%.1f\" fill=\"none\" "
                          "stroke=\"#BBBBBB\"/>\n",
                          frame.x(level.x), frame.y(level.y),
                          frame.x(level.x + level.x_radius) - frame.x(level.x),
                          frame.y(level.y) - frame.y(level.y + level.y_radius));
  }
  return picture;
}

std::string Polyline(const Frame& frame, const PathPanel& panel, const Path& path,
                     const std::string& colour) {
  const size_t size =
      panel.num_points == 0 ? path.x.size() : std::min(panel.num_points, path.x.size());
  std::string points;
  std::string dots;
  double last_x = 0;
  double last_y = 0;
  for (size_t i = 0; i < size; ++i) {
    if (!std::isfinite(path.x[i]) || !std::isfinite(path.y[i])) break;
    const double x = Clamped(frame.x(path.x[i]));
    const double y = Clamped(frame.y(path.y[i]));
    // What would not be seen is left out.
    if (i > 0 && i + 1 < size && std::hypot(x - last_x, y - last_y) < 0.3) continue;
    absl::StrAppendFormat(&points, "%s%.1f %.1f", i == 0 ? "M" : "L", x, y);
    if (panel.dots) {
      absl::StrAppendFormat(&dots, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y,
                            colour);
    }
    last_x = x;
    last_y = y;
  }
  return absl::StrFormat(
             "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%g\" "
             "stroke-linejoin=\"round\"/>\n",
             points, colour, path.width) +
         dots;
}

std::string Cross(const Frame& frame, double x, double y) {
  const double at_x = frame.x(x);
  const double at_y = frame.y(y);
  return svg::Line(at_x - 6, at_y - 6, at_x + 6, at_y + 6, "#000000", 2) +
         svg::Line(at_x - 6, at_y + 6, at_x + 6, at_y - 6, "#000000", 2);
}

std::string Axes(const Frame& frame, const PathPanel& panel, const PathPlotText& text) {
  const double left = frame.x.begin;
  const double right = frame.x.end;
  const double bottom = frame.y.begin;
  const double top = frame.y.end;
  std::string picture = svg::Text(left, top - 10, "start", panel.title);
  for (const double tick : LinearTicks(panel.x_low, panel.x_high, 8)) {
    picture += svg::Line(frame.x(tick), bottom, frame.x(tick), bottom + 5, "#444444", 1);
    picture += svg::Text(frame.x(tick), bottom + 21, "middle", svg::TickText(tick));
  }
  for (const double tick : LinearTicks(panel.y_low, panel.y_high, 5)) {
    picture += svg::Line(left - 5, frame.y(tick), left, frame.y(tick), "#444444", 1);
    picture += svg::Text(left - 9, frame.y(tick) + 4.5, "end", svg::TickText(tick));
  }
  absl::StrAppendFormat(&picture,
                        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
                        "stroke=\"#444444\"/>\n",
                        left, top, right - left, bottom - top);
  picture += svg::Text((left + right) / 2, bottom + 42, "middle", text.x_label);
  const double middle = (top + bottom) / 2;
  picture += svg::Text(20, middle, "middle", text.y_label,
                       absl::StrFormat(" transform=\"rotate(-90 20 %.1f)\"", middle));
  return picture;
}

}  // namespace

std::string PathPlotSvg(const PathPlotText& text, absl::Span<const PathPanel> panels,
                        absl::Span<const LevelLine> levels, absl::Span<const Path> paths,
                        double minimum_x, double minimum_y) {
  constexpr double kPanel = kPanelTop + kPanelHeight + kPanelBottom;
  std::string picture =
      svg::Open(kWidth, kTitle + kPanel * static_cast<double>(panels.size()), text.title);
  picture += svg::Text(kLeft, 32, "start", text.title, " font-size=\"17\" font-weight=\"bold\"");
  for (size_t i = 0; i < panels.size(); ++i) {
    const PathPanel& panel = panels[i];
    const double top = kTitle + kPanel * static_cast<double>(i) + kPanelTop;
    const Frame frame = {{panel.x_low, panel.x_high, kLeft, kWidth - kRight},
                         {panel.y_low, panel.y_high, top + kPanelHeight, top}};
    absl::StrAppendFormat(&picture,
                          "<clipPath id=\"panel%d\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                          "height=\"%.1f\"/></clipPath>\n<g clip-path=\"url(#panel%d)\">\n",
                          i, kLeft, top, kWidth - kLeft - kRight, kPanelHeight, i);
    picture += LevelLines(frame, levels);
    for (size_t j = 0; j < paths.size(); ++j) {
      picture += Polyline(frame, panel, paths[j], svg::Colour(j));
    }
    picture += Cross(frame, minimum_x, minimum_y) + "</g>\n" + Axes(frame, panel, text);
    if (i > 0) continue;
    std::vector<svg::LegendRow> rows;
    for (size_t j = 0; j < paths.size(); ++j) rows.push_back({paths[j].name, svg::Colour(j)});
    picture += svg::Legend(kLeft + 8, top + kPanelHeight - svg::LegendHeight(rows) - 8, rows);
  }
  return picture + "</svg>\n";
}

}  // namespace talweg
