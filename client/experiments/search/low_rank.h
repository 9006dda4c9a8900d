// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment low_rank`: dense perturbations against those of rank 1 and 4, on the network
// of the tutorial, at equal evaluations and at equal wall time.
//
// The estimate's error is nearly the same (core/noise/perturbation.h: rank 1 costs a matrix of
// 512 x 512 0.8 % more pairs), but a perturbation of rank r draws r (m + n) numbers instead of m n,
// and is evaluated by one product with W and corrections of rank r (perturbed_network.h).
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"
#include "client/experiments/search/mnist_search.h"

namespace talweg {

struct LowRankOptions {
  bool quick = false;                        // 784-64-64-10, fewer pairs and updates
  uint64_t seed = 1;                         // of initial values, perturbations and images
  uint64_t num_workers = 0;                  // threads, at most 64; 0: one for each core
  std::string out_dir = "results/low_rank";  // the folder for plots and CSV
  std::string data_dir;                      // folder of the data; empty: FindMnist() looks
  bool json = false;                         // the summary as JSON instead of a table
  std::function<bool()> stop;                // asked before each lease; true ends the run
};

// Runs all searches, writes the files, and the summary to `out`. Sessions are deleted in the end,
// also after an error. CANCELLED if `stop` said so, INVALID_ARGUMENT for too many workers.
absl::Status RunLowRank(const Client& client, const LowRankOptions& options, std::ostream& out,
                        std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   evaluations, time   SVG: accuracy on the test set against evaluations and against seconds
//   curves              low_rank.csv: one row per test
//   summary             summary.csv: one row per run
ReportWriter LowRankReport(const std::string& folder, absl::Span<const MnistSearchRun> runs);

}  // namespace talweg
