// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/mnist_search_report.h"

#include <vector>

#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"

namespace talweg {
namespace {

struct At {
  const MnistSearchRun& run;
  const MnistSearchPoint& point;
};

}  // namespace

std::string MnistSearchPlot(const std::string& title, absl::Span<const MnistSearchRun> runs,
                            SearchAxis axis, SearchValue value) {
  std::vector<Curve> curves;
  for (const MnistSearchRun& run : runs) {
    Curve& curve = curves.emplace_back();
    curve.name = run.search.name;
    for (const MnistSearchPoint& point : run.points) {
      curve.x.push_back(axis == SearchAxis::kEvaluations ? point.evaluations : point.seconds);
      curve.y.push_back(value == SearchValue::kAccuracy ? 100 * point.test_accuracy
                                                        : point.test_loss);
    }
  }
  PlotText text;
  text.title = title;
  text.x_label = axis == SearchAxis::kEvaluations ? "evaluations of the loss" : "wall time, s";
  text.y_label = value == SearchValue::kAccuracy ? "test accuracy, %" : "test cross-entropy, nats";
  text.linear_y = value == SearchValue::kAccuracy;
  return PlotSvg(text, curves);
}

std::string MnistSearchCsv(absl::Span<const MnistSearchRun> runs) {
  const Columns<At> columns({
      {"name", [](const At& a) { return QuotedWord(a.run.search.name); }},
      {"update", [](const At& a) { return Whole(a.point.update); }},
      {"evaluations", [](const At& a) { return Number("%.0f", a.point.evaluations); }},
      {"seconds", [](const At& a) { return Number("%.3f", a.point.seconds); }},
      {"test_loss", [](const At& a) { return Number("%.6g", a.point.test_loss); }},
      {"test_accuracy", [](const At& a) { return Number("%.4f", a.point.test_accuracy); }},
  });
  std::vector<At> points;
  for (const MnistSearchRun& run : runs) {
    for (const MnistSearchPoint& point : run.points) points.push_back({run, point});
  }
  return columns.Csv(points);
}

}  // namespace talweg
