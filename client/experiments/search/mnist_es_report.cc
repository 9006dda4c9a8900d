// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/search/mnist_es.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kLossWindow = 5;  // updates, of the plots

std::string WidthsText(const MnistEsRun& run) { return absl::StrJoin(run.widths, "-"); }

// "ES, 1,600 pairs (3,200 evaluations) per update".
std::string CurveName(const MnistEsRun& run) {
  if (!run.searches()) {
    return absl::StrCat("backpropagation (a gradient counts as ", run.evaluations(),
                        " evaluations)");
  }
  return absl::StrCat(run.name(), " (", GroupDigits(run.evaluations()), " evaluations) per update");
}

enum class Against { kUpdates, kEvaluations };

// ", 2 seeds" if two of the runs have as many pairs as `run`; nothing if it is the only one.
std::string SeedsText(absl::Span<const MnistEsRun> runs, const MnistEsRun& run) {
  const auto count = std::count_if(runs.begin(), runs.end(), [&](const MnistEsRun& other) {
    return other.num_pairs == run.num_pairs;
  });
  return count > 1 ? absl::StrCat(", ", count, " seeds") : "";
}

// One curve per run; runs that differ in the seed alone share a colour and a legend, which counts
// them.
std::string Plot(absl::Span<const MnistEsRun> runs, Against against, bool loss) {
  std::vector<uint64_t> kinds;
  std::vector<Curve> curves;
  for (const MnistEsRun& run : runs) {
    auto kind = std::find(kinds.begin(), kinds.end(), run.num_pairs);
    Curve& curve = curves.emplace_back();
    if (kind == kinds.end()) {
      curve.name = absl::StrCat(CurveName(run), SeedsText(runs, run));
      kind = kinds.insert(kinds.end(), run.num_pairs);
    }
    curve.colour = static_cast<size_t>(kind - kinds.begin());
    for (const MnistEsPoint& point : run.points) {
      const double value = loss ? point.loss : 100 * point.test_accuracy;
      if (std::isnan(value)) continue;
      const double updates = static_cast<double>(point.update);
      curve.x.push_back(against == Against::kUpdates
                            ? updates
                            : updates * static_cast<double>(run.evaluations()));
      curve.y.push_back(value);
    }
    if (loss) curve.y = Smooth(curve.y, kLossWindow);
  }
  PlotText text;
  text.title = absl::StrCat("MNIST, ", runs.empty() ? "" : WidthsText(runs[0]), ": ",
                            loss ? "training loss" : "test accuracy");
  text.x_label = against == Against::kUpdates ? "updates" : "evaluations of the loss";
  text.y_label = loss ? absl::StrFormat("cross-entropy, mean of about %.0f updates", kLossWindow)
                      : "test accuracy, %";
  text.log_x = against == Against::kEvaluations;
  text.linear_y = !loss;
  return PlotSvg(text, curves);
}

// One point of a run. Borrows.
struct At {
  const MnistEsRun& run;
  const MnistEsPoint& point;
};

// What is not there is left empty.
Cell NumberIfAny(const absl::FormatSpec<double>& format, double value) {
  return std::isnan(value) ? Cell{"", "null"} : Number(format, value);
}

std::string CurvesCsv(absl::Span<const MnistEsRun> runs) {
  const Columns<At> columns({
      {"pairs", [](const At& a) { return Whole(a.run.num_pairs); }},
      {"seed", [](const At& a) { return Whole(a.run.seed); }},
      {"update", [](const At& a) { return Whole(a.point.update); }},
      {"evaluations", [](const At& a) { return Whole(a.point.update * a.run.evaluations()); }},
      {"seconds", [](const At& a) { return NumberIfAny("%.3f", a.point.seconds); }},
      {"loss", [](const At& a) { return NumberIfAny("%.6g", a.point.loss); }},
      {"test_loss", [](const At& a) { return NumberIfAny("%.6g", a.point.test_loss); }},
      {"test_accuracy", [](const At& a) { return NumberIfAny("%.4f", a.point.test_accuracy); }},
  });
  std::vector<At> points;
  for (const MnistEsRun& run : runs) {
    for (const MnistEsPoint& point : run.points) points.push_back({run, point});
  }
  return columns.Csv(points);
}

std::string CosineText(const MnistEsRun& run) {
  if (!run.searches()) return "-";
  return absl::StrFormat("%.2f %% (%.2f %%)", 100 * run.first_cosine, 100 * run.expected_cosine());
}

std::string CosineVerdict(const MnistEsRun& run) {
  if (!run.searches()) return "-";
  return run.cosine_fits() ? "yes" : "NO";
}

bool InBand(const MnistEsRun& run, const AccuracyBand& band) {
  return run.test_accuracy() >= band.low && run.test_accuracy() <= band.high;
}

// "87 - 90 %: inside".
std::string BandText(const MnistEsRun& run) {
  const auto band = BandOf(run);
  if (!band) return "-";
  return absl::StrFormat("%.0f - %.0f %%: %s", 100 * band->low, 100 * band->high,
                         InBand(run, *band) ? "inside" : "OUTSIDE");
}

const Columns<MnistEsRun>& SummaryColumns() {
  using Run = const MnistEsRun&;
  static const auto& columns = *new Columns<MnistEsRun>({
      {"method",
       [](Run r) { return Word(r.searches() ? "evolution_strategy" : "backpropagation"); },
       "method", Align::kLeft, [](Run r) { return r.name(); }},
      {"pairs", [](Run r) { return Whole(r.num_pairs); }},
      {"seed", [](Run r) { return Whole(r.seed); }, "seed", Align::kRight,
       [](Run r) { return absl::StrCat(r.seed); }},
      {"parameters", [](Run r) { return Whole(r.num_parameters()); }, "d", Align::kRight,
       [](Run r) { return GroupDigits(r.num_parameters()); }},
      {"updates", [](Run r) { return Whole(r.num_steps); }, "updates", Align::kRight,
       [](Run r) { return GroupDigits(r.num_steps); }},
      {"evaluations", [](Run r) { return Whole(r.num_steps * r.evaluations()); }, "evaluations",
       Align::kRight, [](Run r) { return GroupDigits(r.num_steps * r.evaluations()); }},
      {"first_cosine", [](Run r) { return NumberIfAny("%.6f", r.first_cosine); },
       "first cosine (theory)", Align::kRight, CosineText},
      {"expected_cosine",
       [](Run r) { return NumberIfAny("%.6f", r.searches() ? r.expected_cosine() : std::nan("")); },
       "within 10 %", Align::kLeft, CosineVerdict},
      {"test_loss", [](Run r) { return NumberIfAny("%.6g", r.test_loss()); }, "test loss",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4f", r.test_loss()); }},
      {"test_accuracy", [](Run r) { return NumberIfAny("%.4f", r.test_accuracy()); },
       "test accuracy", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2f %%", 100 * r.test_accuracy()); }},
      {"in_band",
       [](Run r) {
         const auto band = BandOf(r);
         return band ? YesNo(InBand(r, *band)) : Cell{"", "null"};
       },
       "band", Align::kLeft, BandText},
      {"seconds_per_update", [](Run r) { return NumberIfAny("%.3f", r.seconds_per_update()); },
       "s/update", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2f", r.seconds_per_update()); }},
  });
  return columns;
}

constexpr absl::string_view kExplanation =
    "A sample is a pair: one perturbation, evaluated with both signs, so two evaluations.\n"
    "All pairs of an update see the same 100 images. A gradient counts as 3 evaluations.\n";

}  // namespace

ReportWriter MnistEsReport(const std::string& folder, absl::Span<const MnistEsRun> runs) {
  ReportWriter report(folder);
  report.AddFile("loss_updates", "against updates", "loss_updates.svg",
                 Plot(runs, Against::kUpdates, true));
  report.AddFile("accuracy_updates", "against updates", "accuracy_updates.svg",
                 Plot(runs, Against::kUpdates, false));
  report.AddFile("loss_evaluations", "against evaluations", "loss_evaluations.svg",
                 Plot(runs, Against::kEvaluations, true));
  report.AddFile("accuracy_evaluations", "against evaluations", "accuracy_evaluations.svg",
                 Plot(runs, Against::kEvaluations, false));
  report.AddFile("curves", "numbers", "curves.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(absl::StrCat(SummaryColumns().Table(runs), "\n", kExplanation));
  report.SetRows("runs", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
