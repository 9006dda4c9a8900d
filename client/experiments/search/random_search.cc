// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/random_search.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/plots/plot.h"
#include "client/experiments/search/mnist_search_report.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

constexpr uint64_t kEvaluations = 100000;  // of each search, about

v1::SearchPolicy IfBetter(uint32_t num_pairs, double sigma) {
  v1::SearchPolicy policy;
  policy.set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  policy.set_acceptance(v1::ACCEPTANCE_IF_BETTER);
  policy.set_num_pairs(num_pairs);
  policy.set_sigma(sigma);
  return policy;
}

v1::SearchPolicy LossWeighted(uint32_t num_pairs, double sigma, v1::Baseline baseline) {
  v1::SearchPolicy policy;
  policy.set_method(v1::SEARCH_METHOD_RANDOM_SEARCH);
  policy.set_acceptance(v1::ACCEPTANCE_LOSS_WEIGHTED);
  policy.set_baseline(baseline);
  policy.set_num_pairs(num_pairs);
  policy.set_sigma(sigma);
  policy.set_scale(v1::SCALE_TUTORIAL);
  return policy;
}

v1::SearchPolicy Pairs(uint32_t num_pairs, double sigma) {
  v1::SearchPolicy policy;
  policy.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  policy.set_num_pairs(num_pairs);
  policy.set_sigma(sigma);
  policy.set_scale(v1::SCALE_TUTORIAL);
  return policy;
}

struct Way {
  absl::string_view name;
  double rate;  // in the unit of gradients; 0: the rate is 1
  v1::SearchPolicy policy;
};

std::vector<Way> Ways() {
  return {
      {"ES, 100 pairs", 0.1, Pairs(100, 0.01)},
      {"loss_weighted, mean", 0.1, LossWeighted(200, 0.01, v1::BASELINE_MEAN)},
      {"loss_weighted, evaluated", 0.1, LossWeighted(199, 0.01, v1::BASELINE_EVALUATED)},
      {"if_better, best of 15", 0, IfBetter(15, 0.005)},
      {"loss_weighted, no baseline", 1e-4, LossWeighted(200, 0.05, v1::BASELINE_NONE)},
  };
}

}  // namespace

absl::Status RunRandomSearch(const Client& client, const RandomSearchOptions& options,
                             std::ostream& out, std::FILE* progress) {
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  SetNumBlasThreads(1);
  std::vector<MnistSearchRun> runs;
  for (const Way& way : Ways()) {
    MnistSearch search;
    search.name = std::string(way.name);
    search.widths = {MnistSet::kPixels, 32, 10};
    search.seed = options.seed;
    search.policy = way.policy;
    const double sigma = way.policy.sigma();
    search.learning_rate = way.rate > 0 ? way.rate / (sigma * sigma) : 1;
    search.num_steps =
        kEvaluations / (options.quick ? 10 : 1) / EvaluationsOfGeneration(way.policy);
    search.stop = options.stop;
    search.progress = progress;
    absl::StatusOr<MnistSearchRun> run = SearchOnMnist(client, *data, search);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  return RandomSearchReport(options.out_dir, runs).Deliver(options.json, out);
}

ReportWriter RandomSearchReport(const std::string& folder, absl::Span<const MnistSearchRun> runs) {
  using Run = const MnistSearchRun&;
  const Columns<MnistSearchRun> columns({
      {"name", [](Run r) { return QuotedWord(r.search.name); }, "search", Align::kLeft,
       [](Run r) { return r.search.name; }},
      {"per_update", [](Run r) { return Whole(EvaluationsOfGeneration(r.search.policy)); },
       "per update", Align::kRight,
       [](Run r) { return GroupDigits(EvaluationsOfGeneration(r.search.policy)); }},
      {"updates", [](Run r) { return Whole(r.search.num_steps); }, "updates", Align::kRight,
       [](Run r) { return GroupDigits(r.search.num_steps); }},
      {"evaluations", [](Run r) { return Number("%.0f", r.points.back().evaluations); },
       "evaluations", Align::kRight,
       [](Run r) { return GroupDigits(static_cast<uint64_t>(r.points.back().evaluations)); }},
      {"sigma", [](Run r) { return Number("%g", r.search.policy.sigma()); }, "sigma", Align::kRight,
       [](Run r) { return absl::StrFormat("%g", r.search.policy.sigma()); }},
      {"rate",
       [](Run r) {
         const double sigma = r.search.policy.sigma();
         return Number("%g", r.search.learning_rate * sigma * sigma);
       },
       "rate", Align::kRight,
       [](Run r) {
         const double sigma = r.search.policy.sigma();
         return r.search.learning_rate == 1
                    ? "-"
                    : absl::StrFormat("%g", r.search.learning_rate * sigma * sigma);
       }},
      {"test_loss", [](Run r) { return Number("%.6g", r.points.back().test_loss); }, "test loss",
       Align::kRight, [](Run r) { return absl::StrFormat("%.4f", r.points.back().test_loss); }},
      {"test_accuracy", [](Run r) { return Number("%.4f", r.points.back().test_accuracy); },
       "test accuracy", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2f %%", 100 * r.points.back().test_accuracy); }},
  });
  ReportWriter report(folder);
  const std::string title = "MNIST, 784-32-10: ";
  report.AddFile("accuracy", "plots", "accuracy.svg",
                 MnistSearchPlot(title + "test accuracy at equal evaluations", runs,
                                 SearchAxis::kEvaluations, SearchValue::kAccuracy));
  report.AddFile("loss", "plots", "loss.svg",
                 MnistSearchPlot(title + "test loss at equal evaluations", runs,
                                 SearchAxis::kEvaluations, SearchValue::kLoss));
  report.AddFile("curves", "numbers", "random_search.csv", MnistSearchCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", columns.Csv(runs));
  report.SetTable(absl::StrCat(
      columns.Table(runs),
      "\nThe rate is in the unit of gradients. `if_better` has none: it keeps a perturbation.\n"));
  report.SetRows("runs", columns.JsonRows(runs));
  return report;
}

}  // namespace talweg
