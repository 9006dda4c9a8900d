// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment random_search`: what one evaluation per perturbation comes to on MNIST, beside
// pairs, at equal evaluations.
//
//   if_better       the best of 15 perturbations is kept, if its loss is below that at W
//   loss_weighted   W -= eta/M sum_p (L(W + dW_p) - b) dW_p with the baseline b
//   ES              W -= eta/M sum_p (L(W + dW_p) - L(W - dW_p)) / 2 dW_p
//
// A difference L(W + dW) - L(W - dW) is about 2 sigma |gradient|. Without a baseline it is the loss
// itself that weighs a perturbation, a hundred times as much and the same for all: so the rate has
// to be so much smaller that nothing is learned.
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

struct RandomSearchOptions {
  bool quick = false;                             // a tenth of the evaluations
  uint64_t seed = 1;                              // of initial values, perturbations and images
  std::string out_dir = "results/random_search";  // the folder for plots and CSV
  std::string data_dir;                           // folder of the data; empty: FindMnist() looks
  bool json = false;                              // the summary as JSON instead of a table
  std::function<bool()> stop;                     // asked before each lease; true ends the run
};

// Runs all searches, writes the files, and the summary to `out`. Sessions are deleted in the end,
// also after an error. CANCELLED if `stop` said so.
absl::Status RunRandomSearch(const Client& client, const RandomSearchOptions& options,
                             std::ostream& out, std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   accuracy, loss   SVG: accuracy and loss on the test set against evaluations
//   curves           random_search.csv: one row per test
//   summary          summary.csv: one row per run
ReportWriter RandomSearchReport(const std::string& folder, absl::Span<const MnistSearchRun> runs);

}  // namespace talweg
