// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/mnist/mnist_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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

std::string SummaryCsv(absl::Span<const MnistRun> runs) {
  std::string csv =
      "method,batch_size,learning_rate,steps,test_accuracy,train_loss,wall_seconds,"
      "steps_per_second,server_share\n";
  for (const MnistRun& run : runs) {
    absl::StrAppendFormat(&csv, "%s,%d,%g,%d,%.4f,%.6g,%.3f,%.2f,%.4f\n", run.method,
                          run.batch_size, run.learning_rate, run.num_steps, LastAccuracy(run),
                          run.final_loss, run.wall_seconds, StepsASecond(run), ServerShare(run));
  }
  return csv;
}

}  // namespace

absl::StatusOr<MnistFiles> WriteMnistFiles(const std::string& folder,
                                           absl::Span<const MnistRun> runs) {
  const MnistFiles files = {folder + "/loss.svg", folder + "/loss.csv", folder + "/summary.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.plot, Plot(runs)));
  status.Update(WriteFile(files.curves, CurvesCsv(runs)));
  status.Update(WriteFile(files.summary, SummaryCsv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string MnistTable(absl::Span<const MnistRun> runs) {
  std::vector<const MnistRun*> order;
  for (const MnistRun& run : runs) order.push_back(&run);
  std::stable_sort(order.begin(), order.end(), [](const MnistRun* a, const MnistRun* b) {
    return LastAccuracy(*a) > LastAccuracy(*b);
  });
  Table table({{"method"},
               {"batch", Align::kRight},
               {"rate", Align::kRight},
               {"steps", Align::kRight},
               {"test accuracy", Align::kRight},
               {"loss, last epoch", Align::kRight},
               {"wall s", Align::kRight},
               {"steps/s", Align::kRight},
               {"in server calls", Align::kRight}});
  for (const MnistRun* run : order) {
    table.AddRow(
        {run->method, absl::StrCat(run->batch_size), absl::StrFormat("%g", run->learning_rate),
         GroupDigits(run->num_steps), absl::StrFormat("%.2f %%", 100 * LastAccuracy(*run)),
         absl::StrFormat("%.4f", run->final_loss), absl::StrFormat("%.1f", run->wall_seconds),
         absl::StrFormat("%.0f", StepsASecond(*run)),
         absl::StrFormat("%.0f %%", 100 * ServerShare(*run))});
  }
  return table.Text();
}

std::string MnistJson(absl::Span<const MnistRun> runs, const MnistFiles& files) {
  const std::string methods = absl::StrJoin(runs, ",\n", [](std::string* out, const MnistRun& run) {
    absl::StrAppendFormat(
        out,
        "    {\"method\": %s, \"batch_size\": %d, \"learning_rate\": %g, \"steps\": %d, "
        "\"test_accuracy\": %.4f, \"train_loss\": %.6g, \"wall_seconds\": %.3f, "
        "\"steps_per_second\": %.2f, \"server_share\": %.4f}",
        Quoted(run.method), run.batch_size, run.learning_rate, run.num_steps, LastAccuracy(run),
        run.final_loss, run.wall_seconds, StepsASecond(run), ServerShare(run));
  });
  return absl::StrCat("{\n  \"methods\": [\n", methods, "\n  ],\n  \"plot\": ", Quoted(files.plot),
                      ",\n  \"curves\": ", Quoted(files.curves),
                      ",\n  \"summary\": ", Quoted(files.summary), "\n}\n");
}

}  // namespace talweg
