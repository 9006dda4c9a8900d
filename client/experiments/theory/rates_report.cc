// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/theory/rates.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr size_t kBlack = 6;  // of the colours

// "agrees within 3 %", or "off by 30 %" if it does not agree.
std::string Verdict(const RatesRun& run) {
  const double percent = 100 * run.Deviation();
  if (percent > 10) return absl::StrFormat("off by %.0f %%", percent);
  return absl::StrFormat("agrees within %.0f %%", std::max(1.0, std::ceil(percent)));
}

std::string Plot(absl::Span<const RatesRun> runs) {
  std::vector<Curve> curves;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RatesRun& run = runs[i];
    Curve& curve = curves.emplace_back();
    curve.name = absl::StrFormat("%s: slope %.2f (theory %g)", run.name, run.fit.slope, run.theory);
    curve.colour = i;
    for (size_t t = 1; t <= run.losses.size(); ++t) {
      curve.x.push_back(static_cast<double>(t));
      curve.y.push_back(run.losses[t - 1]);
    }
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    Curve& line = curves.emplace_back();
    if (i == 0) line.name = "fitted to the last decade of steps, and drawn on to the left";
    line.dashed = true;
    line.colour = kBlack;
    for (const uint64_t t : {std::max<uint64_t>(runs[i].first / 10, 1), runs[i].last}) {
      line.x.push_back(static_cast<double>(t));
      line.y.push_back(runs[i].fit(static_cast<double>(t)));
    }
  }
  PlotText text = {"Rates of convergence", "steps", "loss, as a share of the first"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

// A run after `step` steps, from 1 on. Borrows.
struct Point {
  const RatesRun& run;
  size_t step;
};

std::string CurvesCsv(absl::Span<const RatesRun> runs) {
  using At = const Point&;
  const Columns<Point> columns({
      {"run", [](At p) { return QuotedWord(p.run.name); }},
      {"step", [](At p) { return Whole(p.step); }},
      {"loss", [](At p) { return Number("%.8g", p.run.losses[p.step - 1]); }},
  });
  std::vector<Point> points;
  for (const RatesRun& run : runs) {
    for (size_t step = 1; step <= run.losses.size(); ++step) points.push_back({run, step});
  }
  return columns.Csv(points);
}

std::string SlopeText(const RatesRun& run) {
  std::string slope = absl::StrFormat("%.3f", run.fit.slope);
  if (run.slope_error > 0) absl::StrAppendFormat(&slope, " ± %.3f", run.slope_error);
  return slope;
}

const Columns<RatesRun>& SummaryColumns() {
  using Run = const RatesRun&;
  static const auto& columns = *new Columns<RatesRun>({
      {"run", [](Run r) { return QuotedWord(r.name); }, "run", Align::kLeft,
       [](Run r) { return r.name; }},
      {"method", [](Run r) { return Word(r.method); }},
      {"steps", [](Run r) { return Whole(r.losses.size()); }},
      {"first", [](Run r) { return Whole(r.first); }, "steps fitted", Align::kRight,
       [](Run r) { return absl::StrCat(GroupDigits(r.first), " - ", GroupDigits(r.last)); }},
      {"last", [](Run r) { return Whole(r.last); }},
      {"slope", [](Run r) { return Number("%.6f", r.fit.slope); }, "slope", Align::kRight,
       SlopeText},
      {"slope_error", [](Run r) { return Number("%.6f", r.slope_error); }},
      {"theory", [](Run r) { return Number("%g", r.theory); }, "theory", Align::kRight,
       [](Run r) { return absl::StrFormat("%g", r.theory); }},
      {"deviation", [](Run r) { return Number("%.6f", r.Deviation()); }, "", Align::kLeft, Verdict},
      {"loss_left", nullptr, "loss left", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2g", r.losses.back()); }},
      {"bound_share", [](Run r) { return Number("%.6g", r.bound_share); }, "bound / loss",
       Align::kRight,
       [](Run r) { return r.bound_share > 0 ? absl::StrFormat("%.1f", 1 / r.bound_share) : "-"; }},
  });
  return columns;
}

}  // namespace

ReportWriter RatesReport(const std::string& folder, absl::Span<const RatesRun> runs) {
  ReportWriter report(folder);
  report.AddFile("plot", "plot", "rates.svg", Plot(runs));
  report.AddFile("curves", "numbers", "rates.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(SummaryColumns().Table(runs));
  report.SetRows("runs", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
