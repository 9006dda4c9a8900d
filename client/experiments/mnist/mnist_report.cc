// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr double kLossWindow = 100;  // steps, of the plot

double LastAccuracy(const MnistRun& run) {
  return run.test_accuracy.empty() ? 0 : run.test_accuracy.back();
}
double StepsASecond(const MnistRun& run) {
  return run.wall_seconds > 0 ? static_cast<double>(run.num_steps) / run.wall_seconds : 0;
}
double ServerShare(const MnistRun& run) {
  return run.wall_seconds > 0 ? run.server_seconds / run.wall_seconds : 0;
}

std::string Plot(absl::Span<const MnistRun> runs) {
  std::vector<Curve> curves;
  for (const MnistRun& run : runs) {
    curves.push_back({run.method, run.epochs, Smooth(run.losses, kLossWindow)});
  }
  return PlotSvg({"MNIST, 784-512-512-10: training loss", "epochs",
                  absl::StrFormat("cross-entropy, mean of about %.0f steps", kLossWindow)},
                 curves);
}

// One step of a run. Borrows.
struct Point {
  const MnistRun& run;
  size_t index;
};

std::string CurvesCsv(absl::Span<const MnistRun> runs) {
  using At = const Point&;
  const Columns<Point> columns({
      {"method", [](At p) { return Word(p.run.method); }},
      {"step", [](At p) { return Whole(p.index + 1); }},
      {"epoch", [](At p) { return Number("%.5f", p.run.epochs[p.index]); }},
      {"loss", [](At p) { return Number("%.6g", p.run.losses[p.index]); }},
  });
  std::vector<Point> points;
  for (const MnistRun& run : runs) {
    for (size_t i = 0; i < run.losses.size(); ++i) points.push_back({run, i});
  }
  return columns.Csv(points);
}

const Columns<MnistRun>& SummaryColumns() {
  using Run = const MnistRun&;
  static const auto& columns = *new Columns<MnistRun>({
      {"method", [](Run r) { return Word(r.method); }, "method", Align::kLeft,
       [](Run r) { return r.method; }},
      {"batch_size", [](Run r) { return Whole(r.batch_size); }, "batch", Align::kRight,
       [](Run r) { return absl::StrCat(r.batch_size); }},
      {"learning_rate", [](Run r) { return Number("%g", r.learning_rate); }, "rate", Align::kRight,
       [](Run r) { return absl::StrFormat("%g", r.learning_rate); }},
      {"steps", [](Run r) { return Whole(r.num_steps); }, "steps", Align::kRight,
       [](Run r) { return GroupDigits(r.num_steps); }},
      {"test_accuracy", [](Run r) { return Number("%.4f", LastAccuracy(r)); }, "test accuracy",
       Align::kRight, [](Run r) { return absl::StrFormat("%.2f %%", 100 * LastAccuracy(r)); }},
      {"train_loss", [](Run r) { return Number("%.6g", r.final_loss); }, "loss, last epoch",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4f", r.final_loss); }},
      {"wall_seconds", [](Run r) { return Number("%.3f", r.wall_seconds); }, "wall s",
       Align::kRight, [](Run r) { return absl::StrFormat("%.1f", r.wall_seconds); }},
      {"steps_per_second", [](Run r) { return Number("%.2f", StepsASecond(r)); }, "steps/s",
       Align::kRight, [](Run r) { return absl::StrFormat("%.0f", StepsASecond(r)); }},
      {"server_share", [](Run r) { return Number("%.4f", ServerShare(r)); }, "in server calls",
       Align::kRight, [](Run r) { return absl::StrFormat("%.0f %%", 100 * ServerShare(r)); }},
  });
  return columns;
}

// The best accuracy first.
std::string TableOf(absl::Span<const MnistRun> runs) {
  std::vector<const MnistRun*> order;
  for (const MnistRun& run : runs) order.push_back(&run);
  std::stable_sort(order.begin(), order.end(), [](const MnistRun* a, const MnistRun* b) {
    return LastAccuracy(*a) > LastAccuracy(*b);
  });
  Table table(SummaryColumns().Headings());
  for (const MnistRun* run : order) table.AddRow(SummaryColumns().Texts(*run));
  return table.Text();
}

}  // namespace

ReportWriter MnistReport(const std::string& folder, absl::Span<const MnistRun> runs) {
  ReportWriter report(folder);
  report.AddFile("plot", "loss curves", "loss.svg", Plot(runs));
  report.AddFile("curves", "numbers", "loss.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(TableOf(runs));
  report.SetRows("methods", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
