// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/plots/svg.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/terminal/table.h"

namespace talweg::svg {
namespace {

constexpr double kCharacterWidth = 8;  // about, of 13 pixels of DejaVu Sans

// Told apart by eyes of every kind (Okabe, Ito 2008), the darkest first.
constexpr absl::string_view kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                          "#E69F00", "#56B4E9", "#000000"};

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

}  // namespace

double Scale::operator()(double value) const {
  const double share =
      log ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return begin + share * (end - begin);
}

std::string Open(double width, double height, absl::string_view title) {
  return absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
      "viewBox=\"0 0 %g %g\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
      "font-size=\"13\" fill=\"#222222\" role=\"img\">\n<title>%s</title>\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#FFFFFF\"/>\n",
      width, height, width, height, Escape(title));
}

std::string Text(double x, double y, absl::string_view anchor, absl::string_view text,
                 absl::string_view more) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y,
                         anchor, more, Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, absl::string_view colour, double width,
                 bool dashed) {
  return absl::StrFormat(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
      "stroke-width=\"%g\"%s/>\n",
      x1, y1, x2, y2, colour, width, dashed ? " stroke-dasharray=\"6 4\"" : "");
}

double LegendWidth(absl::Span<const LegendRow> rows) {
  size_t longest = 0;
  for (const LegendRow& row : rows) longest = std::max(longest, TextWidth(row.name));
  return 56 + kCharacterWidth * static_cast<double>(longest);
}

double LegendHeight(absl::Span<const LegendRow> rows) {
  return 12 + kRowHeight * static_cast<double>(rows.size());
}

std::string Legend(double left, double top, absl::Span<const LegendRow> rows) {
  std::string svg = absl::StrFormat(
      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#FFFFFF\" "
      "fill-opacity=\"0.9\" stroke=\"#CCCCCC\"/>\n",
      left, top, LegendWidth(rows), LegendHeight(rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    const double y = top + 17 + kRowHeight * static_cast<double>(i);
    svg += Line(left + 12, y, left + 40, y, rows[i].colour, 3, rows[i].dashed);
    svg += Text(left + 48, y + 4.5, "start", rows[i].name);
  }
  return svg;
}

std::string Colour(size_t index) { return std::string(kColours[index % std::size(kColours)]); }

std::string TickText(double tick) {
  constexpr absl::string_view kSuperscripts[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  const double power = std::round(std::log10(std::abs(tick)));
  const bool plain = tick == 0 || (power >= -3 && power <= 4) ||
                     std::abs(tick / std::pow(10, power) - 1) > 1e-9 || tick < 0;
  if (plain) return absl::StrFormat("%g", tick);
  std::string text = power < 0 ? "10⁻" : "10";
  for (const char digit : absl::StrCat(static_cast<int>(std::abs(power)))) {
    absl::StrAppend(&text, kSuperscripts[digit - '0']);
  }
  return text;
}

}  // namespace talweg::svg
