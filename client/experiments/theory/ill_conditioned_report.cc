// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/plots/path_plot.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/report_files.h"
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

std::string CurvesCsv(absl::Span<const IllConditionedRun> runs) {
  std::string csv = "dimensions,rule,step,loss,along,across\n";
  for (const IllConditionedRun& run : runs) {
    for (size_t step = 0; step < run.losses.size(); ++step) {
      absl::StrAppendFormat(&csv, "%d,\"%s\",%d,%.8g,%.8g,%.8g\n", run.num_dimensions, run.name,
                            step, run.losses[step], run.along[step], run.across[step]);
    }
  }
  return csv;
}

std::string SummaryCsv(absl::Span<const IllConditionedRun> runs) {
  std::string csv =
      "dimensions,rule,method,learning_rate,beta,contraction,predicted_steps,steps,arrived,"
      "travel_across\n";
  for (const IllConditionedRun& run : runs) {
    absl::StrAppendFormat(&csv, "%d,\"%s\",%s,%.8g,%.8g,%.8g,%d,%d,%d,%.6g\n", run.num_dimensions,
                          run.name, run.method, AveragingRate(run.rule), run.rule.beta,
                          run.contraction, run.predicted_steps, run.steps, run.arrived ? 1 : 0,
                          run.travel_across);
  }
  return csv;
}

}  // namespace

absl::StatusOr<IllConditionedFiles> WriteIllConditionedFiles(
    const std::string& folder, double condition, absl::Span<const IllConditionedRun> runs) {
  const IllConditionedFiles files = {folder + "/paths.svg", folder + "/loss.svg",
                                     folder + "/loss.csv", folder + "/summary.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.paths, Paths(condition, runs)));
  status.Update(WriteFile(files.losses, Losses(condition, runs)));
  status.Update(WriteFile(files.curves, CurvesCsv(runs)));
  status.Update(WriteFile(files.summary, SummaryCsv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string IllConditionedTable(absl::Span<const IllConditionedRun> runs) {
  Table table({{"problem", Align::kRight},
               {"rule"},
               {"rate", Align::kRight},
               {"beta", Align::kRight},
               {"factor a step", Align::kRight},
               {"steps by theory", Align::kRight},
               {"steps taken", Align::kRight},
               {"way across", Align::kRight}});
  for (const IllConditionedRun& run : runs) {
    table.AddRow({absl::StrCat(run.num_dimensions, "-D"), run.name,
                  absl::StrFormat("%.4g", AveragingRate(run.rule)),
                  absl::StrFormat("%.4g", run.rule.beta), absl::StrFormat("%.5f", run.contraction),
                  GroupDigits(run.predicted_steps),
                  absl::StrCat(run.arrived ? "" : "> ", GroupDigits(run.steps)),
                  absl::StrFormat("%.1f", run.travel_across)});
  }
  return absl::StrCat(table.Text(),
                      "\nsteps until a millionth of the first loss is left; way "
                      "across: 1 is straight down the wall\n");
}

std::string IllConditionedJson(absl::Span<const IllConditionedRun> runs,
                               const IllConditionedFiles& files) {
  const std::string rows =
      absl::StrJoin(runs, ",\n", [](std::string* out, const IllConditionedRun& run) {
        absl::StrAppendFormat(
            out,
            "    {\"dimensions\": %d, \"rule\": %s, \"method\": %s, \"learning_rate\": %.8g, "
            "\"beta\": %.8g, \"contraction\": %.8g, \"predicted_steps\": %d, \"steps\": %d, "
            "\"arrived\": %s, \"travel_across\": %.6g}",
            run.num_dimensions, Quoted(run.name), Quoted(run.method), AveragingRate(run.rule),
            run.rule.beta, run.contraction, run.predicted_steps, run.steps,
            run.arrived ? "true" : "false", run.travel_across);
      });
  return absl::StrCat("{\n  \"runs\": [\n", rows, "\n  ],\n  \"paths\": ", Quoted(files.paths),
                      ",\n  \"plot\": ", Quoted(files.losses),
                      ",\n  \"curves\": ", Quoted(files.curves),
                      ",\n  \"summary\": ", Quoted(files.summary), "\n}\n");
}

}  // namespace talweg
