// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/fleet/fleet_view.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/experiments/plots/plot.h"
#include "client/terminal/chart.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kRateWindow = 3;  // seconds
constexpr size_t kChartHeight = 4;
constexpr size_t kMinRowsForChart = 20;
constexpr size_t kShownEvents = 3;

// Mean over the last twentieth of the versions.
std::string LossText(const FleetRun& run) {
  if (run.losses.empty()) return "-";
  const double window = std::max(static_cast<double>(run.losses.size()) / 20, 1.0);
  return absl::StrFormat("%.4f", Smooth(run.losses, window).back());
}

std::string RoundText(const FleetRun& run) {
  const uint64_t round = run.last_version() / VersionsARound(run.mode, run.shape);
  return absl::StrCat("round ", GroupDigits(round), " of ", GroupDigits(run.shape.num_rounds));
}

std::string FateText(const FleetRun& run) {
  return absl::StrCat("kills ", run.num_kills, "  restarts ", run.num_restarts, "  expiries ",
                      run.num_expiries);
}

size_t NumRunning(absl::Span<const FleetWorker> workers) {
  return static_cast<size_t>(
      std::count_if(workers.begin(), workers.end(),
                    [](const FleetWorker& worker) { return worker.process != nullptr; }));
}

std::vector<std::string> Chart(const FleetRun& run, size_t width) {
  std::vector<ChartPoint> points;
  for (size_t i = 0; i < run.losses.size(); ++i) {
    // The fall of a loss is a matter of its logarithm.
    points.push_back({run.rounds[i], std::log10(std::max(run.losses[i], 1e-6))});
  }
  return DrawChart(ColumnsOf(points, width), kChartHeight);
}

std::string StateText(const FleetWorker& worker) {
  if (worker.process == nullptr) return worker.done ? "done" : "away";
  if (worker.done) return "done";
  return worker.tally.contributions() == 0 ? "starts" : "works";
}

std::vector<std::string> WorkerRows(const FleetSight& sight) {
  Table table({{"worker"},
               {"state"},
               {"starts", Align::kRight},
               {"applied", Align::kRight},
               {"late", Align::kRight},
               {"refused", Align::kRight},
               {"computes", Align::kRight},
               {"waits", Align::kRight},
               {"loss", Align::kRight},
               {"at version", Align::kRight}});
  for (const FleetWorker& worker : sight.workers) {
    const WorkerTally& tally = worker.tally;
    const double count = static_cast<double>(std::max<uint64_t>(tally.contributions(), 1));
    table.AddRow({worker.name, StateText(worker), absl::StrCat(worker.num_starts),
                  GroupDigits(tally.applied), GroupDigits(tally.late), GroupDigits(tally.refused),
                  absl::StrFormat("%.1f ms", 1e3 * tally.compute_seconds / count),
                  absl::StrFormat("%.1f ms", 1e3 * tally.wait_seconds / count),
                  absl::StrFormat("%.4f", tally.last_loss), GroupDigits(tally.last_version)});
  }
  std::vector<std::string> lines = absl::StrSplit(table.Text(), '\n');
  lines.pop_back();  // behind the last end of a line
  return lines;
}

}  // namespace

std::string FleetModeText(const FleetRun& run) {
  std::string text(run.mode.name);
  if (text == "k_of_n") absl::StrAppend(&text, ", ", run.shape.k, " of ", run.shape.num_workers);
  return text;
}

std::vector<std::string> FleetPage(const FleetSight& sight, TerminalSize size) {
  const FleetRun& run = sight.run;
  std::vector<std::string> lines;
  lines.push_back(absl::StrCat("fleet: ", FleetModeText(run), "   session ", sight.session_id,
                               " at ", sight.server));
  lines.push_back(
      absl::StrCat(RoundText(run), "   version ", GroupDigits(run.last_version()),
                   absl::StrFormat("   %.1f rounds/s   %.0f s", run.RoundsASecond(kRateWindow),
                                   absl::ToDoubleSeconds(sight.elapsed))));
  lines.push_back(absl::StrCat("workers    ", NumRunning(sight.workers), " of ",
                               sight.workers.size(), " run, ", sight.num_live, " leases   ",
                               FateText(run)));
  lines.push_back(absl::StrFormat(
      "staleness  mean %.2f  max %d   late %.2f a round", run.mean_staleness(), run.max_staleness,
      run.rounds.empty() ? 0 : static_cast<double>(run.num_late) / run.rounds.back()));
  lines.push_back(absl::StrFormat("waits      %.0f %% of the workers' time   loss %s",
                                  100 * run.wait_share(), LossText(run)));
  if (size.rows >= kMinRowsForChart) {
    for (const std::string& line : Chart(run, size.columns)) lines.push_back(line);
  }
  lines.push_back("");
  std::vector<std::string> rows = WorkerRows(sight);
  const size_t num_events = std::min(sight.events.size(), kShownEvents);
  const size_t taken = lines.size() + (num_events > 0 ? num_events + 1 : 0);
  const size_t room = size.rows > taken + 2 ? size.rows - taken : 2;
  if (rows.size() > room) {
    const size_t hidden = rows.size() - (room - 1);
    rows.resize(room - 1);
    rows.push_back(absl::StrCat("and ", hidden, " more"));
  }
  lines.insert(lines.end(), rows.begin(), rows.end());
  if (num_events > 0) {
    lines.push_back("");
    lines.insert(lines.end(), sight.events.end() - static_cast<std::ptrdiff_t>(num_events),
                 sight.events.end());
  }
  return lines;
}

std::string FleetLine(const FleetSight& sight) {
  const FleetRun& run = sight.run;
  return absl::StrFormat(
      "%s: %s  %.1f rounds/s  loss %s  workers %d of %d, %d leases  staleness %.2f, %d at most  "
      "waits %.0f %%  %s",
      FleetModeText(run), RoundText(run), run.RoundsASecond(kRateWindow), LossText(run),
      NumRunning(sight.workers), sight.workers.size(), sight.num_live, run.mean_staleness(),
      run.max_staleness, 100 * run.wait_share(), FateText(run));
}

}  // namespace talweg
