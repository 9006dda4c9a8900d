// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/path_plot.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/theory/ill_conditioned.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr size_t kMaxPathSteps = 400;  // drawn; gradient descent has hardly moved by then
constexpr int kZoomedSteps = 14;

// What differs between the runs that are drawn as paths: the fastest momentum leaves the picture,
// as its error grows before it falls.
bool IsDrawn(const IllConditionedRun& run) {
  return run.name == "gradient_descent, fastest" || run.name == "momentum, safe" ||
         run.name == "nesterov";
}

std::string Paths(double condition, absl::Span<const IllConditionedRun> runs) {
  std::vector<Path> paths;
  double along = 0;
  double across = 0;
  for (const IllConditionedRun& run : runs) {
    if (run.num_dimensions != runs[0].num_dimensions || !IsDrawn(run)) continue;
    Path& path = paths.emplace_back();
    path.name = absl::StrFormat("%s: %s steps", run.name, GroupDigits(run.steps));
    path.width = 1.5;
    path.x.assign(run.along.begin(), run.along.begin() + static_cast<ptrdiff_t>(std::min(
                                                             run.along.size(), kMaxPathSteps + 1)));
    path.y.assign(run.across.begin(), run.across.begin() + static_cast<ptrdiff_t>(path.x.size()));
    along = run.along.front();
    across = std::abs(run.across.front());
  }
  std::vector<LevelLine> levels;
  const double reach = std::sqrt(2.0);  // the start is as high as this far along
  for (double radius = 1.3; radius > 0.02; radius /= 1.3) {
    levels.push_back({0, 0, radius * along * reach, radius * along * reach / std::sqrt(condition)});
  }
  PathPanel whole;
  whole.title = absl::StrCat("the first ", kMaxPathSteps, " steps of each");
  whole.x_low = -0.15 * along;
  whole.x_high = 1.1 * along;
  whole.y_low = -1.25 * across;
  whole.y_high = 1.25 * across;
  PathPanel zoom = whole;
  zoom.title =
      absl::StrCat("the start, enlarged: the first ", kZoomedSteps, " steps, with a dot at each");
  zoom.x_low = 0.9 * along;
  zoom.x_high = 1.01 * along;
  zoom.num_points = kZoomedSteps + 1;
  zoom.dots = true;
  return PathPlotSvg({absl::StrFormat("A valley %g times steeper across than along", condition),
                      "along the valley (curvature 1)",
                      absl::StrFormat("across (curvature %g), stretched", condition)},
                     {whole, zoom}, levels, paths, 0, 0);
}

std::string Losses(double condition, absl::Span<const IllConditionedRun> runs) {
  std::vector<Curve> curves;
  for (const IllConditionedRun& run : runs) {
    if (run.num_dimensions != runs[0].num_dimensions) continue;
    Curve& curve = curves.emplace_back();
    curve.name = absl::StrFormat("%s: %s steps (theory %s)", run.name, GroupDigits(run.steps),
                                 GroupDigits(run.predicted_steps));
    for (size_t step = 1; step < run.losses.size(); ++step) {
      curve.x.push_back(static_cast<double>(step));
      curve.y.push_back(run.losses[step]);
    }
  }
  PlotText text = {absl::StrFormat("Quadratic with condition number %g, %d-D", condition,
                                   runs.empty() ? 0 : runs[0].num_dimensions),
                   "steps", "loss, as a share of the first"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

// A run after some steps. Borrows.
struct Point {
  const IllConditionedRun& run;
  size_t step;
};

std::string CurvesCsv(absl::Span<const IllConditionedRun> runs) {
  using At = const Point&;
  const Columns<Point> columns({
      {"dimensions", [](At p) { return Whole(p.run.num_dimensions); }},
      {"rule", [](At p) { return QuotedWord(p.run.name); }},
      {"step", [](At p) { return Whole(p.step); }},
      {"loss", [](At p) { return Number("%.8g", p.run.losses[p.step]); }},
      {"along", [](At p) { return Number("%.8g", p.run.along[p.step]); }},
      {"across", [](At p) { return Number("%.8g", p.run.across[p.step]); }},
  });
  std::vector<Point> points;
  for (const IllConditionedRun& run : runs) {
    for (size_t step = 0; step < run.losses.size(); ++step) points.push_back({run, step});
  }
  return columns.Csv(points);
}

const Columns<IllConditionedRun>& SummaryColumns() {
  using Run = const IllConditionedRun&;
  static const auto& columns = *new Columns<IllConditionedRun>({
      {"dimensions", [](Run r) { return Whole(r.num_dimensions); }, "problem", Align::kRight,
       [](Run r) { return absl::StrCat(r.num_dimensions, "-D"); }},
      {"rule", [](Run r) { return QuotedWord(r.name); }, "rule", Align::kLeft,
       [](Run r) { return r.name; }},
      {"method", [](Run r) { return Word(r.method); }},
      {"learning_rate", [](Run r) { return Number("%.8g", AveragingRate(r.rule)); }, "rate",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4g", AveragingRate(r.rule)); }},
      {"beta", [](Run r) { return Number("%.8g", r.rule.beta); }, "beta", Align::kRight,
       [](Run r) { return absl::StrFormat("%.4g", r.rule.beta); }},
      {"contraction", [](Run r) { return Number("%.8g", r.contraction); }, "factor a step",
       Align::kRight, [](Run r) { return absl::StrFormat("%.5f", r.contraction); }},
      {"predicted_steps", [](Run r) { return Whole(r.predicted_steps); }, "steps by theory",
       Align::kRight, [](Run r) { return GroupDigits(r.predicted_steps); }},
      {"steps", [](Run r) { return Whole(r.steps); }, "steps taken", Align::kRight,
       [](Run r) { return absl::StrCat(r.arrived ? "" : "> ", GroupDigits(r.steps)); }},
      {"arrived", [](Run r) { return YesNo(r.arrived); }},
      {"travel_across", [](Run r) { return Number("%.6g", r.travel_across); }, "way across",
       Align::kRight, [](Run r) { return absl::StrFormat("%.1f", r.travel_across); }},
  });
  return columns;
}

}  // namespace

ReportWriter IllConditionedReport(const std::string& folder, double condition,
                                  absl::Span<const IllConditionedRun> runs) {
  ReportWriter report(folder);
  report.AddFile("paths", "paths", "paths.svg", Paths(condition, runs));
  report.AddFile("plot", "loss curves", "loss.svg", Losses(condition, runs));
  report.AddFile("curves", "numbers", "loss.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(absl::StrCat(SummaryColumns().Table(runs),
                               "\nsteps until a millionth of the first loss is left; way "
                               "across: 1 is straight down the wall\n"));
  report.SetRows("runs", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
