// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/fleet/fleet.h"
#include "client/experiments/fleet/fleet_view.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/report_files.h"
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

std::string CurvesCsv(absl::Span<const FleetRun> runs) {
  std::string csv = "mode,slowdown,version,round,seconds,loss,staleness,contributors\n";
  for (const FleetRun& run : runs) {
    for (size_t i = 0; i < run.versions.size(); ++i) {
      absl::StrAppendFormat(&csv, "%s,%g,%d,%.6g,%.4f,%.8g,%d,%d\n", run.mode.name, run.slowdown,
                            run.versions[i], run.rounds[i], run.seconds[i], run.losses[i],
                            run.staleness[i], run.contributors[i]);
    }
  }
  return csv;
}

std::string SummaryCsv(absl::Span<const FleetRun> runs) {
  std::string csv =
      "mode,workers,batch_size,slowdown,pace_seconds,versions,rounds,seconds,rounds_per_second,"
      "test_accuracy,train_loss,mean_staleness,max_staleness,contributions,late,refused,wait_share,"
      "kills,restarts,expiries\n";
  for (const FleetRun& run : runs) {
    absl::StrAppendFormat(
        &csv, "%s,%d,%d,%g,%g,%d,%d,%.3f,%.2f,%.4f,%.6g,%.3f,%d,%d,%d,%d,%.4f,%d,%d,%d\n",
        run.mode.name, run.shape.num_workers, run.batch_size, run.slowdown, run.pace_seconds,
        run.last_version(), run.shape.num_rounds, run.last_second(), run.RoundsASecond(),
        run.test_accuracy, run.final_loss(), run.mean_staleness(), run.max_staleness,
        run.num_contributions, run.tally.late, run.tally.refused, run.wait_share(), run.num_kills,
        run.num_restarts, run.num_expiries);
  }
  return csv;
}

}  // namespace

absl::StatusOr<FleetFiles> WriteFleetFiles(const std::string& folder,
                                           absl::Span<const FleetRun> runs) {
  const FleetFiles files = {folder + "/rounds.svg", folder + "/time.svg", folder + "/loss.csv",
                            folder + "/summary.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.rounds, Plot(runs, /*against_time=*/false)));
  status.Update(WriteFile(files.time, Plot(runs, /*against_time=*/true)));
  status.Update(WriteFile(files.curves, CurvesCsv(runs)));
  status.Update(WriteFile(files.summary, SummaryCsv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string FleetTable(absl::Span<const FleetRun> runs) {
  Table table({{"mode"},
               {"test accuracy", Align::kRight},
               {"loss", Align::kRight},
               {"rounds", Align::kRight},
               {"wall s", Align::kRight},
               {"rounds/s", Align::kRight},
               {"staleness", Align::kRight},
               {"at most", Align::kRight},
               {"late", Align::kRight},
               {"refused", Align::kRight},
               {"waits", Align::kRight},
               {"kills", Align::kRight},
               {"expiries", Align::kRight}});
  const double slowdown = Slowdown(runs);
  for (const FleetRun& run : runs) {
    const bool fast = run.slowdown < slowdown;
    table.AddRow({absl::StrCat(FleetModeText(run), fast ? ", none slow" : ""),
                  absl::StrFormat("%.2f %%", 100 * run.test_accuracy),
                  absl::StrFormat("%.4f", run.final_loss()), GroupDigits(run.shape.num_rounds),
                  absl::StrFormat("%.1f", run.last_second()),
                  absl::StrFormat("%.1f", run.RoundsASecond()),
                  absl::StrFormat("%.2f", run.mean_staleness()), absl::StrCat(run.max_staleness),
                  GroupDigits(run.tally.late), GroupDigits(run.tally.refused),
                  absl::StrFormat("%.0f %%", 100 * run.wait_share()), absl::StrCat(run.num_kills),
                  absl::StrCat(run.num_expiries)});
  }
  return table.Text();
}

std::string FleetJson(absl::Span<const FleetRun> runs, const FleetFiles& files) {
  const std::string rows = absl::StrJoin(runs, ",\n", [](std::string* out, const FleetRun& run) {
    absl::StrAppendFormat(
        out,
        "    {\"mode\": %s, \"slowdown\": %g, \"workers\": %d, \"versions\": %d, \"rounds\": %d, "
        "\"seconds\": %.3f, "
        "\"rounds_per_second\": %.2f, \"test_accuracy\": %.4f, \"train_loss\": %.8g, "
        "\"mean_staleness\": %.3f, \"max_staleness\": %d, \"contributions\": %d, \"late\": %d, "
        "\"refused\": %d, \"wait_share\": %.4f, \"kills\": %d, \"restarts\": %d, "
        "\"expiries\": %d}",
        Quoted(run.mode.name), run.slowdown, run.shape.num_workers, run.last_version(),
        run.shape.num_rounds, run.last_second(), run.RoundsASecond(), run.test_accuracy,
        run.final_loss(), run.mean_staleness(), run.max_staleness, run.num_contributions,
        run.tally.late, run.tally.refused, run.wait_share(), run.num_kills, run.num_restarts,
        run.num_expiries);
  });
  return absl::StrCat("{\n  \"runs\": [\n", rows, "\n  ],\n  \"rounds\": ", Quoted(files.rounds),
                      ",\n  \"time\": ", Quoted(files.time),
                      ",\n  \"curves\": ", Quoted(files.curves),
                      ",\n  \"summary\": ", Quoted(files.summary), "\n}\n");
}

}  // namespace talweg
