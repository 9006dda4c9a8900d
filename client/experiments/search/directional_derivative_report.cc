// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/search/directional_derivative.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

std::string Plot(absl::Span<const DifferenceErrors> errors) {
  std::vector<Curve> curves;
  for (size_t i = 0; i < errors.size(); ++i) {
    const DifferenceErrors& of_kind = errors[i];
    const size_t best = of_kind.Best();
    Curve& curve = curves.emplace_back();
    curve.name = absl::StrFormat(
        "%s: error ~ sigma^%.2f on the right (theory %g), sigma^%.2f on "
        "the left (-1)",
        of_kind.name, of_kind.HighExponent(), of_kind.theory, of_kind.LowExponent());
    curve.x = of_kind.sigmas;
    curve.y = of_kind.errors;
    curve.colour = i;
    Curve& minimum = curves.emplace_back();
    minimum.name = absl::StrFormat("its minimum, the dot: %.2g at sigma = %.2g",
                                   of_kind.errors[best], of_kind.sigmas[best]);
    minimum.x = {of_kind.sigmas[best]};
    minimum.y = {of_kind.errors[best]};
    minimum.colour = i;
    minimum.dots = true;
  }
  PlotText text = {"Differences of losses in float32 against the exact derivative", "sigma",
                   "error, as a share of the derivative"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

struct At {
  const DifferenceErrors& of_kind;
  size_t index;
};

std::string CurvesCsv(absl::Span<const DifferenceErrors> errors) {
  const Columns<At> columns({
      {"difference", [](const At& a) { return Word(a.of_kind.name); }},
      {"sigma", [](const At& a) { return Number("%.6g", a.of_kind.sigmas[a.index]); }},
      {"error", [](const At& a) { return Number("%.6g", a.of_kind.errors[a.index]); }},
  });
  std::vector<At> points;
  for (const DifferenceErrors& of_kind : errors) {
    for (size_t i = 0; i < of_kind.sigmas.size(); ++i) points.push_back({of_kind, i});
  }
  return columns.Csv(points);
}

const Columns<DifferenceErrors>& ErrorColumns() {
  using Row = const DifferenceErrors&;
  static const auto& columns = *new Columns<DifferenceErrors>({
      {"difference", [](Row r) { return Word(r.name); }, "difference", Align::kLeft,
       [](Row r) { return r.name; }},
      {"smallest_error", [](Row r) { return Number("%.6g", r.errors[r.Best()]); }, "smallest error",
       Align::kRight, [](Row r) { return absl::StrFormat("%.2g", r.errors[r.Best()]); }},
      {"best_sigma", [](Row r) { return Number("%.6g", r.sigmas[r.Best()]); }, "at sigma",
       Align::kRight, [](Row r) { return absl::StrFormat("%.2g", r.sigmas[r.Best()]); }},
      {"exponent_below", [](Row r) { return Number("%.4f", r.LowExponent()); },
       "exponent below (theory)", Align::kRight,
       [](Row r) { return absl::StrFormat("%.2f (-1)", r.LowExponent()); }},
      {"exponent_above", [](Row r) { return Number("%.4f", r.HighExponent()); },
       "exponent above (theory)", Align::kRight,
       [](Row r) { return absl::StrFormat("%.2f (%g)", r.HighExponent(), r.theory); }},
  });
  return columns;
}

const Columns<DifferenceSearch>& SearchColumns() {
  using Row = const DifferenceSearch&;
  static const auto& columns = *new Columns<DifferenceSearch>({
      {"differences", [](Row r) { return Word(r.name); }, "search", Align::kLeft,
       [](Row r) { return r.name; }},
      {"sigma",
       [](Row r) {
         return r.sigma > 0 ? Number("%.6g", r.sigma) : Cell{"", "null"};
       },
       "sigma", Align::kRight,
       [](Row r) { return r.sigma > 0 ? absl::StrFormat("%.2g", r.sigma) : "exact"; }},
      {"test_loss", [](Row r) { return Number("%.6g", r.loss); }, "test loss", Align::kRight,
       [](Row r) { return absl::StrFormat("%.4f", r.loss); }},
      {"test_accuracy", [](Row r) { return Number("%.4f", r.accuracy); }, "test accuracy",
       Align::kRight, [](Row r) { return absl::StrFormat("%.2f %%", 100 * r.accuracy); }},
      {"distance", [](Row r) { return Number("%.6g", r.distance); }, "away from the exact search",
       Align::kRight, [](Row r) { return absl::StrFormat("%.2g of its way", r.distance); }},
  });
  return columns;
}

}  // namespace

ReportWriter DirectionalDerivativeReport(const std::string& folder,
                                         absl::Span<const DifferenceErrors> errors,
                                         absl::Span<const DifferenceSearch> searches) {
  ReportWriter report(folder);
  report.AddFile("plot", "plot", "directional_derivative.svg", Plot(errors));
  report.AddFile("curves", "numbers", "directional_derivative.csv", CurvesCsv(errors));
  report.AddFile("summary", "numbers", "summary.csv", ErrorColumns().Csv(errors));
  report.AddFile("searches", "numbers", "searches.csv", SearchColumns().Csv(searches));
  report.SetTable(
      absl::StrCat(ErrorColumns().Table(errors), "\n", SearchColumns().Table(searches)));
  report.SetRows("runs", SearchColumns().JsonRows(searches));
  return report;
}

}  // namespace talweg
