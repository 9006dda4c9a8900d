// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/autoencoder/autoencoder_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"

namespace talweg {
namespace {

using Run = const AutoencoderRun&;

constexpr double kTarget = 75;  // loss

// What Goldfarb, Ren, Bahamou 2020, arXiv:2006.08877, report of the full network.
constexpr char kPublished[] =
    "published (Goldfarb, Ren, Bahamou 2020), after 1, 2, 5, 10 epochs:\n"
    "  K-FAC 183, 135, 74.0, 61.6    SGD with momentum 198, 190, 170, 126    Adam 209, 201, 188, "
    "114\n";

std::string LossText(Run run, uint64_t epoch) {
  const double loss = run.LossAfter(epoch);
  if (std::isnan(loss)) return run.diverged ? "diverged" : "-";
  return absl::StrFormat("%.1f", loss);
}

double MeanServerSeconds(Run run) {
  double sum = 0;
  for (const double seconds : run.server_seconds) sum += seconds;
  return run.server_seconds.empty() ? 0 : sum / static_cast<double>(run.server_seconds.size());
}

// When the run reached `loss`, between two epochs by a straight line of its logarithm; NaN if
// never.
double SecondsTo(double loss, Run run) {
  for (size_t i = 1; i < run.epochs.size(); ++i) {
    const EpochLine& before = run.epochs[i - 1];
    const EpochLine& after = run.epochs[i];
    if (after.loss > loss) continue;
    const double share = std::log(before.loss / loss) / std::log(before.loss / after.loss);
    return before.seconds + share * (after.seconds - before.seconds);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

ReportColumn<AutoencoderRun> LossColumn(uint64_t epoch) {
  return {
      absl::StrCat("loss_", epoch), [epoch](Run r) { return Number("%.6g", r.LossAfter(epoch)); },
      absl::StrCat("epoch ", epoch), Align::kRight, [epoch](Run r) { return LossText(r, epoch); }};
}

const Columns<AutoencoderRun>& SummaryColumns() {
  static const auto& columns = *new Columns<AutoencoderRun>({
      {"run", [](Run r) { return QuotedWord(r.name); }, "", Align::kLeft,
       [](Run r) { return r.name; }},
      {"learning_rate", [](Run r) { return Number("%g", r.learning_rate); }},
      {"workers", [](Run r) { return Whole(r.num_workers); }},
      {"steps", [](Run r) { return Whole(r.losses.size()); }, "steps", Align::kRight,
       [](Run r) { return absl::StrCat(r.losses.size()); }},
      LossColumn(0),
      LossColumn(1),
      LossColumn(2),
      LossColumn(5),
      LossColumn(10),
      {"seconds", [](Run r) { return Number("%.1f", r.TrainingSeconds()); }, "seconds",
       Align::kRight, [](Run r) { return absl::StrFormat("%.0f", r.TrainingSeconds()); }},
      {"seconds_to_75", [](Run r) { return Number("%.1f", SecondsTo(kTarget, r)); }, "s to 75",
       Align::kRight,
       [](Run r) {
         const double seconds = SecondsTo(kTarget, r);
         return std::isnan(seconds) ? std::string("-") : absl::StrFormat("%.0f", seconds);
       }},
      {"server_seconds_per_step", [](Run r) { return Number("%.4f", MeanServerSeconds(r)); },
       "server ms/step", Align::kRight,
       [](Run r) { return absl::StrFormat("%.0f", 1000 * MeanServerSeconds(r)); }},
      {"largest_inverse_age", [](Run r) { return Whole(r.largest_inverse_age); }, "oldest inverse",
       Align::kRight,
       [](Run r) {
         return r.curvature.inverse_version() > 0 ? absl::StrCat(r.largest_inverse_age, " steps")
                                                  : std::string("-");
       }},
      {"failed_inverses", [](Run r) { return Whole(r.curvature.num_failed_inverses()); }},
  });
  return columns;
}

// "momentum" of "momentum, rate 0.003".
std::string FamilyOf(Run run) { return run.name.substr(0, run.name.find(',')); }

// The loss after the last epoch; infinite if it diverged.
double LastLoss(Run run) {
  if (run.diverged || run.epochs.empty()) return std::numeric_limits<double>::infinity();
  return run.epochs.back().loss;
}

// Of a method at several rates the best one; K-FAC has one rate.
std::vector<AutoencoderRun> BestRuns(absl::Span<const AutoencoderRun> runs) {
  std::vector<AutoencoderRun> best;
  for (const AutoencoderRun& run : runs) {
    const auto rival = std::find_if(best.begin(), best.end(), [&](Run other) {
      return FamilyOf(other) == FamilyOf(run) && FamilyOf(run) != "K-FAC";
    });
    if (rival == best.end()) {
      best.push_back(run);
    } else if (LastLoss(run) < LastLoss(*rival)) {
      *rival = run;
    }
  }
  return best;
}

std::string Plot(absl::Span<const AutoencoderRun> all, bool against_seconds) {
  std::vector<Curve> curves;
  for (const AutoencoderRun& run : BestRuns(all)) {
    Curve curve;
    curve.dashed = FamilyOf(run) != "K-FAC";
    curve.name = run.name;
    curve.dots = true;
    for (const EpochLine& epoch : run.epochs) {
      curve.x.push_back(against_seconds ? epoch.seconds : static_cast<double>(epoch.epoch));
      curve.y.push_back(epoch.loss);
    }
    curves.push_back(std::move(curve));
  }
  return PlotSvg({"Autoencoder of MNIST, 784-1000-500-250-30-250-500-1000-784",
                  against_seconds ? "seconds of training" : "epochs",
                  "cross-entropy per image, whole training set"},
                 curves);
}

// One epoch of a run. Borrows.
struct Point {
  const AutoencoderRun& run;
  const EpochLine& epoch;
};

std::string CurvesCsv(absl::Span<const AutoencoderRun> runs) {
  using At = const Point&;
  const Columns<Point> columns({
      {"run", [](At p) { return QuotedWord(p.run.name); }},
      {"epoch", [](At p) { return Whole(p.epoch.epoch); }},
      {"loss", [](At p) { return Number("%.6g", p.epoch.loss); }},
      {"seconds", [](At p) { return Number("%.3f", p.epoch.seconds); }},
  });
  std::vector<Point> points;
  for (const AutoencoderRun& run : runs) {
    for (const EpochLine& epoch : run.epochs) points.push_back({run, epoch});
  }
  return columns.Csv(points);
}

}  // namespace

ReportWriter AutoencoderReport(const std::string& folder, absl::Span<const AutoencoderRun> runs) {
  ReportWriter report(folder);
  report.AddFile("plot", "loss curves", "loss.svg", Plot(runs, /*against_seconds=*/false));
  report.AddFile("seconds", "loss curves", "loss_seconds.svg",
                 Plot(runs, /*against_seconds=*/true));
  report.AddFile("curves", "numbers", "loss.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(absl::StrCat(SummaryColumns().Table(runs), "\n", kPublished));
  report.SetRows("runs", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
