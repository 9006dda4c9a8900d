// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/report_files.h"
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

std::string CurvesCsv(absl::Span<const MnistRun> runs) {
  std::string csv = "method,step,epoch,loss\n";
  for (const MnistRun& run : runs) {
    for (size_t i = 0; i < run.losses.size(); ++i) {
      absl::StrAppendFormat(&csv, "%s,%d,%.5f,%.6g\n", run.method, i + 1, run.epochs[i],
                            run.losses[i]);
    }
  }
  return csv;
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

}  // namespace

absl::StatusOr<MnistFiles> WriteMnistFiles(const std::string& folder,
                                           absl::Span<const MnistRun> runs) {
  const MnistFiles files = {folder + "/loss.svg", folder + "/loss.csv", folder + "/summary.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.plot, Plot(runs)));
  status.Update(WriteFile(files.curves, CurvesCsv(runs)));
  status.Update(WriteFile(files.summary, SummaryColumns().Csv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string MnistTable(absl::Span<const MnistRun> runs) {
  std::vector<const MnistRun*> order;
  for (const MnistRun& run : runs) order.push_back(&run);
  std::stable_sort(order.begin(), order.end(), [](const MnistRun* a, const MnistRun* b) {
    return LastAccuracy(*a) > LastAccuracy(*b);
  });
  Table table(SummaryColumns().Headings());
  for (const MnistRun* run : order) table.AddRow(SummaryColumns().Texts(*run));
  return table.Text();
}

std::string MnistJson(absl::Span<const MnistRun> runs, const MnistFiles& files) {
  return ReportJson("methods", SummaryColumns().JsonRows(runs),
                    {{"plot", files.plot}, {"curves", files.curves}, {"summary", files.summary}});
}

}  // namespace talweg
