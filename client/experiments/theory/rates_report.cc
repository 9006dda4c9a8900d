// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/report_files.h"
#include "client/experiments/theory/rates.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr size_t kBlack = 6;  // of the colours

// "agrees within 3 %", or "off by 30 %" where it does not.
std::string Verdict(const RatesRun& run) {
  const double percent = 100 * run.Deviation();
  if (percent > 10) return absl::StrFormat("off by %.0f %%", percent);
  return absl::StrFormat("agrees within %.0f %%", std::max(1.0, std::ceil(percent)));
}

std::string Plot(absl::Span<const RatesRun> runs) {
  std::vector<Curve> curves;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RatesRun& run = runs[i];
    Curve& curve = curves.emplace_back();
    curve.name = absl::StrFormat("%s: slope %.2f (theory %g)", run.name, run.fit.slope, run.theory);
    curve.colour = i;
    for (size_t t = 1; t <= run.losses.size(); ++t) {
      curve.x.push_back(static_cast<double>(t));
      curve.y.push_back(run.losses[t - 1]);
    }
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    Curve& line = curves.emplace_back();
    if (i == 0) line.name = "fitted to the last decade of steps, and drawn on to the left";
    line.dashed = true;
    line.colour = kBlack;
    for (const uint64_t t : {std::max<uint64_t>(runs[i].first / 10, 1), runs[i].last}) {
      line.x.push_back(static_cast<double>(t));
      line.y.push_back(runs[i].fit(static_cast<double>(t)));
    }
  }
  PlotText text = {"Rates of convergence", "steps", "loss, as a share of the first"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

std::string CurvesCsv(absl::Span<const RatesRun> runs) {
  std::string csv = "run,step,loss\n";
  for (const RatesRun& run : runs) {
    for (size_t t = 1; t <= run.losses.size(); ++t) {
      absl::StrAppendFormat(&csv, "\"%s\",%d,%.8g\n", run.name, t, run.losses[t - 1]);
    }
  }
  return csv;
}

std::string SummaryCsv(absl::Span<const RatesRun> runs) {
  std::string csv = "run,method,steps,first,last,slope,slope_error,theory,deviation,bound_share\n";
  for (const RatesRun& run : runs) {
    absl::StrAppendFormat(&csv, "\"%s\",%s,%d,%d,%d,%.6f,%.6f,%g,%.6f,%.6g\n", run.name, run.method,
                          run.losses.size(), run.first, run.last, run.fit.slope, run.slope_error,
                          run.theory, run.Deviation(), run.bound_share);
  }
  return csv;
}

}  // namespace

absl::StatusOr<RatesFiles> WriteRatesFiles(const std::string& folder,
                                           absl::Span<const RatesRun> runs) {
  const RatesFiles files = {folder + "/rates.svg", folder + "/rates.csv", folder + "/summary.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.plot, Plot(runs)));
  status.Update(WriteFile(files.curves, CurvesCsv(runs)));
  status.Update(WriteFile(files.summary, SummaryCsv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string RatesTable(absl::Span<const RatesRun> runs) {
  Table table({{"run"},
               {"steps fitted", Align::kRight},
               {"slope", Align::kRight},
               {"theory", Align::kRight},
               {""},
               {"loss left", Align::kRight},
               {"bound / loss", Align::kRight}});
  for (const RatesRun& run : runs) {
    std::string slope = absl::StrFormat("%.3f", run.fit.slope);
    if (run.slope_error > 0) absl::StrAppendFormat(&slope, " ± %.3f", run.slope_error);
    table.AddRow({run.name, absl::StrCat(GroupDigits(run.first), " - ", GroupDigits(run.last)),
                  slope, absl::StrFormat("%g", run.theory), Verdict(run),
                  absl::StrFormat("%.2g", run.losses.back()),
                  run.bound_share > 0 ? absl::StrFormat("%.1f", 1 / run.bound_share) : "-"});
  }
  return table.Text();
}

std::string RatesJson(absl::Span<const RatesRun> runs, const RatesFiles& files) {
  const std::string rows = absl::StrJoin(runs, ",\n", [](std::string* out, const RatesRun& run) {
    absl::StrAppendFormat(
        out,
        "    {\"run\": %s, \"method\": %s, \"steps\": %d, \"first\": %d, \"last\": %d, "
        "\"slope\": %.6f, \"slope_error\": %.6f, \"theory\": %g, \"deviation\": %.6f, "
        "\"bound_share\": %.6g}",
        Quoted(run.name), Quoted(run.method), run.losses.size(), run.first, run.last, run.fit.slope,
        run.slope_error, run.theory, run.Deviation(), run.bound_share);
  });
  return absl::StrCat("{\n  \"runs\": [\n", rows, "\n  ],\n  \"plot\": ", Quoted(files.plot),
                      ",\n  \"curves\": ", Quoted(files.curves),
                      ",\n  \"summary\": ", Quoted(files.summary), "\n}\n");
}

}  // namespace talweg
