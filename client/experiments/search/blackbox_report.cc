// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/search/blackbox.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

std::string MethodText(const BlackboxRun& run) {
  return run.searches_at_random() ? "random search" : "ES";
}

// All runs on the function of `runs[first]`.
std::string Plot(absl::Span<const BlackboxRun> runs, const BlackboxRun& first) {
  std::vector<uint64_t> dimensions;
  std::vector<Curve> curves;
  for (const BlackboxRun& run : runs) {
    if (run.function != first.function) continue;
    auto at = std::find(dimensions.begin(), dimensions.end(), run.num_elements);
    if (at == dimensions.end()) at = dimensions.insert(at, run.num_elements);
    Curve& curve = curves.emplace_back();
    curve.name = absl::StrCat(MethodText(run), ", d = ", GroupDigits(run.num_elements));
    curve.colour = static_cast<size_t>(at - dimensions.begin());
    curve.dashed = run.searches_at_random();
    curve.x = run.evaluations;
    curve.y = run.values;
    for (double& value : curve.y) value /= run.values.front();
  }
  PlotText text = {absl::StrCat(first.title, ": value against evaluations"), "evaluations",
                   "value at the parameters, as a share of the first"};
  text.log_x = true;
  return PlotSvg(text, curves);
}

struct At {
  const BlackboxRun& run;
  size_t index;
};

std::string CurvesCsv(absl::Span<const BlackboxRun> runs) {
  const Columns<At> columns({
      {"function", [](const At& a) { return Word(a.run.function); }},
      {"method", [](const At& a) { return Word(a.run.method); }},
      {"elements", [](const At& a) { return Whole(a.run.num_elements); }},
      {"version", [](const At& a) { return Whole(a.index); }},
      {"evaluations", [](const At& a) { return Number("%.0f", a.run.evaluations[a.index]); }},
      {"value", [](const At& a) { return Number("%.6g", a.run.values[a.index]); }},
  });
  std::vector<At> points;
  for (const BlackboxRun& run : runs) {
    for (size_t i = 0; i < run.values.size(); ++i) points.push_back({run, i});
  }
  return columns.Csv(points);
}

// Evaluations until the value is at most a hundredth of the first; NaN: it never is.
double EvaluationsToHundredth(const BlackboxRun& run) {
  for (size_t i = 0; i < run.values.size(); ++i) {
    if (run.values[i] <= 0.01 * run.values.front()) return run.evaluations[i];
  }
  return std::nan("");
}

Cell NumberIfAny(double value) {
  return std::isnan(value) ? Cell{"", "null"} : Number("%.0f", value);
}

const Columns<BlackboxRun>& SummaryColumns() {
  using Run = const BlackboxRun&;
  static const auto& columns = *new Columns<BlackboxRun>({
      {"function", [](Run r) { return Word(r.function); }, "function", Align::kLeft,
       [](Run r) { return r.title; }},
      {"elements", [](Run r) { return Whole(r.num_elements); }, "d", Align::kRight,
       [](Run r) { return GroupDigits(r.num_elements); }},
      {"method", [](Run r) { return Word(r.method); }, "method", Align::kLeft, MethodText},
      {"pairs", [](Run r) { return Whole(r.num_pairs); }},
      {"sigma_first", [](Run r) { return Number("%.6g", r.sigma_first); }, "sigma", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2g - %.2g", r.sigma_first, r.sigma_last); }},
      {"sigma_last", [](Run r) { return Number("%.6g", r.sigma_last); }},
      {"evaluations", [](Run r) { return Number("%.0f", r.evaluations.back()); }, "evaluations",
       Align::kRight,
       [](Run r) { return GroupDigits(static_cast<uint64_t>(r.evaluations.back())); }},
      {"first_value", [](Run r) { return Number("%.6g", r.values.front()); }, "first value",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4g", r.values.front()); }},
      {"last_value", [](Run r) { return Number("%.6g", r.values.back()); }, "last value",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4g", r.values.back()); }},
      {"evaluations_to_hundredth", [](Run r) { return NumberIfAny(EvaluationsToHundredth(r)); },
       "until 1 % is left", Align::kRight,
       [](Run r) {
         const double count = EvaluationsToHundredth(r);
         return std::isnan(count) ? "-" : GroupDigits(static_cast<uint64_t>(count));
       }},
  });
  return columns;
}

constexpr absl::string_view kQuickExplanation =
    "A quick run has a tenth of the evaluations. In 10 dimensions these are too few for ES, so "
    "that\n"
    "random search looks better there than it is: compare the two by a run without --quick.\n";

}  // namespace

ReportWriter BlackboxReport(const std::string& folder, absl::Span<const BlackboxRun> runs,
                            bool quick) {
  ReportWriter report(folder);
  std::string last;
  for (const BlackboxRun& run : runs) {
    if (run.function == last) continue;
    last = run.function;
    report.AddFile(run.function, "plots", absl::StrCat(run.function, ".svg"), Plot(runs, run));
  }
  report.AddFile("curves", "numbers", "blackbox.csv", CurvesCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", SummaryColumns().Csv(runs));
  report.SetTable(quick ? absl::StrCat(SummaryColumns().Table(runs), "\n", kQuickExplanation)
                        : SummaryColumns().Table(runs));
  report.SetRows("runs", SummaryColumns().JsonRows(runs));
  return report;
}

}  // namespace talweg
