// SPDX-License-Identifier: Apache-2.0
#include "client/experiments/search/low_rank.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/experiments/mnist/network.h"
#include "client/experiments/plots/columns.h"
#include "client/experiments/search/mnist_search_report.h"
#include "client/terminal/table.h"

namespace talweg {
namespace {

// In the unit of gradients. The noise of an estimate goes down with the pairs, and the rate with
// it: 800 pairs at the rate of `mnist_es`, 0.1, diverge.
constexpr double kRate = 0.02;
constexpr double kQuickRate = 0.1;
constexpr double kSigma = 0.005;

MnistSearch MakeSearch(const LowRankOptions& options, uint32_t rank) {
  MnistSearch search;
  search.name = rank == 0 ? "dense" : absl::StrCat("rank ", rank);
  search.widths = {MnistSet::kPixels, 512, 512, 10};
  if (options.quick) search.widths = {MnistSet::kPixels, 64, 64, 10};
  search.seed = options.seed;
  search.learning_rate = (options.quick ? kQuickRate : kRate) / (kSigma * kSigma);
  search.num_steps = options.quick ? 20 : 100;
  search.num_workers = options.num_workers;
  if (search.num_workers == 0) {
    search.num_workers = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 64);
  }
  search.policy.set_method(v1::SEARCH_METHOD_EVOLUTION_STRATEGY);
  search.policy.set_num_pairs(options.quick ? 100 : 500);
  search.policy.set_sigma(kSigma);
  search.policy.set_scale(v1::SCALE_TUTORIAL);
  if (rank > 0) {
    search.policy.set_perturbation(v1::PERTURBATION_LOW_RANK);
    search.policy.set_rank(rank);
  }
  search.stop = options.stop;
  return search;
}

}  // namespace

absl::Status RunLowRank(const Client& client, const LowRankOptions& options, std::ostream& out,
                        std::FILE* progress) {
  if (options.num_workers > 64) return absl::InvalidArgumentError("workers must be at most 64");
  const absl::StatusOr<MnistData> data = FindAndLoadMnist(options.data_dir);
  if (!data.ok()) return data.status();
  SetNumBlasThreads(1);
  std::vector<MnistSearchRun> runs;
  for (const uint32_t rank : {0u, 1u, 4u}) {
    MnistSearch search = MakeSearch(options, rank);
    search.progress = progress;
    absl::StatusOr<MnistSearchRun> run = SearchOnMnist(client, *data, search);
    if (!run.ok()) return run.status();
    runs.push_back(*std::move(run));
  }
  return LowRankReport(options.out_dir, runs).Deliver(options.json, out);
}

ReportWriter LowRankReport(const std::string& folder, absl::Span<const MnistSearchRun> runs) {
  double shortest = runs.empty() ? 0 : runs[0].points.back().seconds;
  for (const MnistSearchRun& run : runs) {
    shortest = std::min(shortest, run.points.back().seconds);
  }
  using Run = const MnistSearchRun&;
  const auto rate = [](Run r) {
    return r.points.back().evaluations / std::max(r.points.back().seconds, 1e-9);
  };
  const Columns<MnistSearchRun> columns({
      {"perturbation", [](Run r) { return QuotedWord(r.search.name); }, "perturbation",
       Align::kLeft, [](Run r) { return r.search.name; }},
      {"rank", [](Run r) { return Whole(r.search.policy.rank()); }},
      {"pairs", [](Run r) { return Whole(r.search.policy.num_pairs()); }, "pairs", Align::kRight,
       [](Run r) { return GroupDigits(r.search.policy.num_pairs()); }},
      {"updates", [](Run r) { return Whole(r.search.num_steps); }, "updates", Align::kRight,
       [](Run r) { return GroupDigits(r.search.num_steps); }},
      {"evaluations", [](Run r) { return Number("%.0f", r.points.back().evaluations); },
       "evaluations", Align::kRight,
       [](Run r) { return GroupDigits(static_cast<uint64_t>(r.points.back().evaluations)); }},
      {"seconds", [](Run r) { return Number("%.3f", r.points.back().seconds); }, "s", Align::kRight,
       [](Run r) { return absl::StrFormat("%.1f", r.points.back().seconds); }},
      {"evaluations_per_second", [rate](Run r) { return Number("%.1f", rate(r)); }, "evaluations/s",
       Align::kRight, [rate](Run r) { return GroupDigits(static_cast<uint64_t>(rate(r))); }},
      {"test_accuracy", [](Run r) { return Number("%.4f", r.points.back().test_accuracy); },
       "accuracy at equal evaluations", Align::kRight,
       [](Run r) { return absl::StrFormat("%.2f %%", 100 * r.points.back().test_accuracy); }},
      {"test_accuracy_at_equal_time",
       [shortest](Run r) { return Number("%.4f", r.AccuracyAt(shortest)); },
       absl::StrFormat("after %.1f s", shortest), Align::kRight,
       [shortest](Run r) { return absl::StrFormat("%.2f %%", 100 * r.AccuracyAt(shortest)); }},
  });
  ReportWriter report(folder);
  const std::string title =
      absl::StrCat("MNIST, ", runs.empty() ? "" : absl::StrJoin(runs[0].search.widths, "-"), ": ");
  report.AddFile("evaluations", "plots", "evaluations.svg",
                 MnistSearchPlot(title + "test accuracy at equal evaluations", runs,
                                 SearchAxis::kEvaluations, SearchValue::kAccuracy));
  report.AddFile("time", "plots", "time.svg",
                 MnistSearchPlot(title + "test accuracy at equal wall time", runs,
                                 SearchAxis::kSeconds, SearchValue::kAccuracy));
  report.AddFile("curves", "numbers", "low_rank.csv", MnistSearchCsv(runs));
  report.AddFile("summary", "numbers", "summary.csv", columns.Csv(runs));
  report.SetTable(columns.Table(runs));
  report.SetRows("runs", columns.JsonRows(runs));
  return report;
}

}  // namespace talweg
