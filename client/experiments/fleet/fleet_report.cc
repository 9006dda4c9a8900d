// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/fleet/fleet.h"
#include "client/experiments/fleet/fleet_view.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kLossWindow = 10;  // rounds, of the plots
constexpr size_t kBlack = 6;        // of the colours

// Of the straggler; 1: there is none.
double Slowdown(absl::Span<const FleetRun> runs) {
  double slowdown = 1;
  for (const FleetRun& run : runs) slowdown = std::max(slowdown, run.slowdown);
  return slowdown;
}

std::string Title(absl::Span<const FleetRun> runs, absl::string_view against) {
  std::string title = absl::StrCat("MNIST on ", runs.front().shape.num_workers, " workers");
  const double slowdown = Slowdown(runs);
  if (slowdown > 1) absl::StrAppendFormat(&title, ", one %gx slower", slowdown);
  return absl::StrCat(title, ": loss against ", against);
}

std::string LegendText(const FleetRun& run, double slowdown) {
  std::string text(run.mode.title);
  if (run.mode.name == "k_of_n") {
    text = absl::StrCat(run.shape.k, " of ", run.shape.num_workers, ": waits for the first ",
                        run.shape.k);
  }
  if (run.slowdown < slowdown) text = "synchronous without the straggler";
  return absl::StrFormat("%s (rate %g)", text, run.mode.learning_rate);
}

std::string Plot(absl::Span<const FleetRun> runs, bool against_time) {
  const double slowdown = Slowdown(runs);
  std::vector<Curve> curves;
  for (const FleetRun& run : runs) {
    const double window = kLossWindow * static_cast<double>(VersionsARound(run.mode, run.shape));
    Curve& curve = curves.emplace_back();
    curve.name = LegendText(run, slowdown);
    curve.x = against_time ? run.seconds : run.rounds;
    curve.y = Smooth(run.losses, window);
    curve.dashed = run.slowdown < slowdown;
    if (curve.dashed) curve.colour = kBlack;
  }
  const uint64_t num_workers = runs.front().shape.num_workers;
  const std::string x_label = against_time
                                  ? "seconds"
                                  : absl::StrCat("rounds, a gradient of each worker (", num_workers,
                                                 " versions where each gradient makes one)");
  return PlotSvg({Title(runs, against_time ? "time" : "rounds"), x_label,
                  absl::StrFormat("cross-entropy, mean of about %.0f rounds", kLossWindow)},
                 curves);
}

// One version of a run. Borrows.
struct Point {
  const FleetRun& run;
  size_t index;
};

std::string CurvesCsv(absl::Span<const FleetRun> runs) {
  using At = const Point&;
  const Columns<Point> columns({
      {"mode", [](At p) { return Word(p.run.mode.name); }},
      {"slowdown", [](At p) { return Number("%g", p.run.slowdown); }},
      {"version", [](At p) { return Whole(p.run.versions[p.index]); }},
      {"round", [](At p) { return Number("%.6g", p.run.rounds[p.index]); }},
      {"seconds", [](At p) { return Number("%.4f", p.run.seconds[p.index]); }},
      {"loss", [](At p) { return Number("%.8g", p.run.losses[p.index]); }},
      {"staleness", [](At p) { return Whole(p.run.staleness[p.index]); }},
      {"contributors", [](At p) { return Whole(p.run.contributors[p.index]); }},
  });
  std::vector<Point> points;
  for (const FleetRun& run : runs) {
    for (size_t i = 0; i < run.versions.size(); ++i) points.push_back({run, i});
  }
  return columns.Csv(points);
}

// In the order of the CSV file. `slowdown` is that of the straggler: a run without it says so.
Columns<FleetRun> SummaryColumns(double slowdown) {
  using Run = const FleetRun&;
  return Columns<FleetRun>({
      {"mode", [](Run r) { return Word(r.mode.name); }, "mode", Align::kLeft,
       [slowdown](Run r) {
         return absl::StrCat(FleetModeText(r), r.slowdown < slowdown ? ", none slow" : "");
       }},
      {"workers", [](Run r) { return Whole(r.shape.num_workers); }},
      {"batch_size", [](Run r) { return Whole(r.batch_size); }},
      {"slowdown", [](Run r) { return Number("%g", r.slowdown); }},
      {"pace_seconds", [](Run r) { return Number("%g", r.pace_seconds); }},
      {"versions", [](Run r) { return Whole(r.last_version()); }},
      {"rounds", [](Run r) { return Whole(r.shape.num_rounds); }, "rounds", Align::kRight,
       [](Run r) { return GroupDigits(r.shape.num_rounds); }},
      {"seconds", [](Run r) { return Number("%.3f", r.last_second()); }, "wall s", Align::kRight,
       [](Run r) { return absl::StrFormat("%.1f", r.last_second()); }},
      {"rounds_per_second", [](Run r) { return Number("%.2f", r.RoundsASecond()); }, "rounds/s",
       Align::kRight, [](Run r) { return absl::StrFormat("%.1f", r.RoundsASecond()); }},
      {"test_accuracy", [](Run r) { return Number("%.4f", r.test_accuracy); }, "test accuracy",
       Align::kRight, [](Run r) { return absl::StrFormat("%.2f %%", 100 * r.test_accuracy); }},
      {"train_loss",
       [](Run r) {  // JSON has the digits that show whether two runs are the same
         return Cell{Number("%.6g", r.final_loss()).csv, Number("%.8g", r.final_loss()).json};
       },
       "loss", Align::kRight, [](Run r) { return absl::StrFormat("%.4f", r.final_loss()); }},
      {"mean_staleness", [](Run r) { return Number("%.3f", r.mean_staleness()); }, "staleness",
       Align::kRight, [](Run r) { return absl::StrFormat("%.2f", r.mean_staleness()); }},
      {"max_staleness", [](Run r) { return Whole(r.max_staleness); }, "at most", Align::kRight,
       [](Run r) { return absl::StrCat(r.max_staleness); }},
      {"contributions", [](Run r) { return Whole(r.num_contributions); }},
      {"late", [](Run r) { return Whole(r.tally.late); }, "late", Align::kRight,
       [](Run r) { return GroupDigits(r.tally.late); }},
      {"refused", [](Run r) { return Whole(r.tally.refused); }, "refused", Align::kRight,
       [](Run r) { return GroupDigits(r.tally.refused); }},
      {"wait_share", [](Run r) { return Number("%.4f", r.wait_share()); }, "waits", Align::kRight,
       [](Run r) { return absl::StrFormat("%.0f %%", 100 * r.wait_share()); }},
      {"kills", [](Run r) { return Whole(r.num_kills); }, "kills", Align::kRight,
       [](Run r) { return absl::StrCat(r.num_kills); }},
      {"restarts", [](Run r) { return Whole(r.num_restarts); }},
      {"expiries", [](Run r) { return Whole(r.num_expiries); }, "expiries", Align::kRight,
       [](Run r) { return absl::StrCat(r.num_expiries); }},
  });
}

}  // namespace

ReportWriter FleetReport(const std::string& folder, absl::Span<const FleetRun> runs) {
  const Columns<FleetRun> columns = SummaryColumns(Slowdown(runs));
  ReportWriter report(folder);
  report.AddFile("rounds", "loss curves", "rounds.svg", Plot(runs, /*against_time=*/false));
  report.AddFile("time", "loss curves", "time.svg", Plot(runs, /*against_time=*/true));
  report.AddFile("curves", "numbers", "loss.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", columns.Csv(runs));
  report.SetTable(columns
                      .Pick({"mode", "test_accuracy", "train_loss", "rounds", "seconds",
                             "rounds_per_second", "mean_staleness", "max_staleness", "late",
                             "refused", "wait_share", "kills", "expiries"})
                      .Table(runs));
  report.SetRows("runs", columns
                             .Pick({"mode", "slowdown", "workers", "versions", "rounds", "seconds",
                                    "rounds_per_second", "test_accuracy", "train_loss",
                                    "mean_staleness", "max_staleness", "contributions", "late",
                                    "refused", "wait_share", "kills", "restarts", "expiries"})
                             .JsonRows(runs));
  return report;
}

}  // namespace talweg
