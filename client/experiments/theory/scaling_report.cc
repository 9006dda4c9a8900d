// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/plots/report_files.h"
#include "client/experiments/theory/scaling.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr size_t kBlack = 6;  // of the colours
constexpr const char* kWays[] = {"accurate", "frequent"};

const std::vector<ScalingPoint>& PointsOf(const ScalingRun& run, size_t way) {
  return way == 0 ? run.accurate : run.frequent;
}

double SpeedUp(const ScalingRun& run, const ScalingPoint& point) {
  return run.accurate.front().gradients / point.gradients;
}

std::string Plot(absl::Span<const ScalingRun> runs) {
  std::vector<Curve> curves;
  for (const ScalingRun& run : runs) {
    for (size_t way = 0; way < 2; ++way) {
      Curve& curve = curves.emplace_back();
      curve.name = absl::StrFormat(
          "noise %g: %s", run.noise,
          way == 0 ? "more accurate gradients (rounds)" : "more frequent updates (in turn)");
      curve.colour = curves.size() - 1;
      curve.dots = true;
      for (const ScalingPoint& point : PointsOf(run, way)) {
        curve.x.push_back(static_cast<double>(point.num_workers));
        curve.y.push_back(point.gradients);
      }
    }
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    Curve& ideal = curves.emplace_back();
    if (i == 0) ideal.name = "ideal: n workers, n times as fast";
    ideal.dashed = true;
    ideal.colour = kBlack;
    for (const ScalingPoint& point : runs[i].accurate) {
      ideal.x.push_back(static_cast<double>(point.num_workers));
      ideal.y.push_back(runs[i].accurate.front().gradients /
                        static_cast<double>(point.num_workers));
    }
  }
  PlotText text = {"Two ways to be faster with more workers", "workers",
                   "gradients of each worker until 1 % of the loss is left"};
  text.log_x = true;
  text.x_ticks = runs.front().accurate.size() > 1 ? curves.front().x : std::vector<double>();
  return PlotSvg(text, curves);
}

std::string SummaryCsv(absl::Span<const ScalingRun> runs) {
  std::string csv =
      "noise,way,workers,learning_rate,gradients_per_worker,expected,speed_up,versions,"
      "max_staleness\n";
  for (const ScalingRun& run : runs) {
    for (size_t way = 0; way < 2; ++way) {
      for (const ScalingPoint& point : PointsOf(run, way)) {
        absl::StrAppendFormat(&csv, "%g,%s,%d,%.6g,%.6g,%.6g,%.4f,%d,%d\n", run.noise, kWays[way],
                              point.num_workers, point.rate, point.gradients, point.expected,
                              SpeedUp(run, point), point.versions, point.staleness);
      }
    }
  }
  return csv;
}

}  // namespace

absl::StatusOr<ScalingFiles> WriteScalingFiles(const std::string& folder,
                                               absl::Span<const ScalingRun> runs) {
  const ScalingFiles files = {folder + "/scaling.svg", folder + "/scaling.csv"};
  absl::Status status = MakeFolder(folder);
  status.Update(WriteFile(files.plot, Plot(runs)));
  status.Update(WriteFile(files.summary, SummaryCsv(runs)));
  if (!status.ok()) return status;
  return files;
}

std::string ScalingTable(absl::Span<const ScalingRun> runs) {
  Table table({{"noise", Align::kRight},
               {"workers", Align::kRight},
               {"ideal", Align::kRight},
               {"accurate: gradients each", Align::kRight},
               {"theory", Align::kRight},
               {"rate", Align::kRight},
               {"speed-up", Align::kRight},
               {"frequent: gradients each", Align::kRight},
               {"theory", Align::kRight},
               {"rate", Align::kRight},
               {"speed-up", Align::kRight}});
  for (const ScalingRun& run : runs) {
    for (size_t i = 0; i < run.accurate.size(); ++i) {
      const double n = static_cast<double>(run.accurate[i].num_workers);
      std::vector<std::string> row = {absl::StrFormat("%g", run.noise), absl::StrFormat("%.0f", n),
                                      absl::StrFormat("%.1f", run.accurate.front().gradients / n)};
      for (size_t way = 0; way < 2; ++way) {
        const ScalingPoint& point = PointsOf(run, way)[i];
        row.push_back(absl::StrFormat("%.1f", point.gradients));
        row.push_back(absl::StrFormat("%.1f", point.expected));
        row.push_back(absl::StrFormat("%.3g", point.rate));
        row.push_back(absl::StrFormat("%.1f", SpeedUp(run, point)));
      }
      table.AddRow(std::move(row));
    }
  }
  return table.Text();
}

std::string ScalingJson(absl::Span<const ScalingRun> runs, const ScalingFiles& files) {
  std::vector<std::string> rows;
  for (const ScalingRun& run : runs) {
    for (size_t way = 0; way < 2; ++way) {
      for (const ScalingPoint& point : PointsOf(run, way)) {
        rows.push_back(absl::StrFormat(
            "    {\"noise\": %g, \"way\": %s, \"workers\": %d, \"learning_rate\": %.6g, "
            "\"gradients_per_worker\": %.6g, \"expected\": %.6g, \"speed_up\": %.4f, "
            "\"max_staleness\": %d}",
            run.noise, Quoted(kWays[way]), point.num_workers, point.rate, point.gradients,
            point.expected, SpeedUp(run, point), point.staleness));
      }
    }
  }
  return absl::StrCat("{\n  \"runs\": [\n", absl::StrJoin(rows, ",\n"),
                      "\n  ],\n  \"plot\": ", Quoted(files.plot),
                      ",\n  \"summary\": ", Quoted(files.summary), "\n}\n");
}

}  // namespace talweg
