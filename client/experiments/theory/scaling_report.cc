// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
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

// One point of a run, with what it is compared to. Borrows.
struct Row {
  const ScalingRun& run;
  size_t way;
  const ScalingPoint& point;
};

std::vector<Row> RowsOf(absl::Span<const ScalingRun> runs) {
  std::vector<Row> rows;
  for (const ScalingRun& run : runs) {
    for (size_t way = 0; way < 2; ++way) {
      for (const ScalingPoint& point : PointsOf(run, way)) rows.push_back({run, way, point});
    }
  }
  return rows;
}

std::string IdealText(const Row& row) {
  return absl::StrFormat(
      "%.1f", row.run.accurate.front().gradients / static_cast<double>(row.point.num_workers));
}

// In the order of the CSV file. The table has the two ways side by side.
const Columns<Row>& SummaryColumns() {
  static const auto& columns = *new Columns<Row>({
      {"noise", [](const Row& r) { return Number("%g", r.run.noise); }, "noise", Align::kRight,
       [](const Row& r) { return absl::StrFormat("%g", r.run.noise); }},
      {"way", [](const Row& r) { return Word(kWays[r.way]); }},
      {"workers", [](const Row& r) { return Whole(r.point.num_workers); }, "workers", Align::kRight,
       [](const Row& r) { return absl::StrCat(r.point.num_workers); }},
      {"ideal", nullptr, "ideal", Align::kRight, IdealText},
      {"learning_rate", [](const Row& r) { return Number("%.6g", r.point.rate); }, "rate",
       Align::kRight, [](const Row& r) { return absl::StrFormat("%.3g", r.point.rate); }},
      {"gradients_per_worker", [](const Row& r) { return Number("%.6g", r.point.gradients); },
       "gradients each", Align::kRight,
       [](const Row& r) { return absl::StrFormat("%.1f", r.point.gradients); }},
      {"expected", [](const Row& r) { return Number("%.6g", r.point.expected); }, "theory",
       Align::kRight, [](const Row& r) { return absl::StrFormat("%.1f", r.point.expected); }},
      {"speed_up", [](const Row& r) { return Number("%.4f", SpeedUp(r.run, r.point)); }, "speed-up",
       Align::kRight,
       [](const Row& r) { return absl::StrFormat("%.1f", SpeedUp(r.run, r.point)); }},
      {"versions", [](const Row& r) { return Whole(r.point.versions); }},
      {"max_staleness", [](const Row& r) { return Whole(r.point.staleness); }},
  });
  return columns;
}

std::string TableOf(absl::Span<const ScalingRun> runs) {
  const Columns<Row> problem = SummaryColumns().Pick({"noise", "workers", "ideal"});
  const Columns<Row> result =
      SummaryColumns().Pick({"gradients_per_worker", "expected", "learning_rate", "speed_up"});
  std::vector<Column> headings = problem.Headings();
  for (const char* way : kWays) {
    std::vector<Column> of_way = result.Headings();
    of_way.front().title = absl::StrCat(way, ": ", of_way.front().title);
    headings.insert(headings.end(), of_way.begin(), of_way.end());
  }
  Table table(headings);
  for (const ScalingRun& run : runs) {
    for (size_t i = 0; i < run.accurate.size(); ++i) {
      std::vector<std::string> texts = problem.Texts({run, 0, run.accurate[i]});
      for (size_t way = 0; way < 2; ++way) {
        const std::vector<std::string> of_way = result.Texts({run, way, PointsOf(run, way)[i]});
        texts.insert(texts.end(), of_way.begin(), of_way.end());
      }
      table.AddRow(std::move(texts));
    }
  }
  return table.Text();
}

}  // namespace

ReportWriter ScalingReport(const std::string& folder, absl::Span<const ScalingRun> runs) {
  const std::vector<Row> rows = RowsOf(runs);
  ReportWriter report(folder);
  report.AddFile("plot", "plot", "scaling.svg", Plot(runs));
  report.AddFile("summary", "numbers", "scaling.csv", SummaryColumns().Csv(rows));
  report.SetTable(TableOf(runs));
  report.SetRows("runs",
                 SummaryColumns()
                     .Pick({"noise", "way", "workers", "learning_rate", "gradients_per_worker",
                            "expected", "speed_up", "max_staleness"})
                     .JsonRows(rows));
  return report;
}

}  // namespace talweg
