// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment blackbox`: an evolution strategy (ranks, Adam) and random search (the best
// perturbation is kept, if it is better) on Rosenbrock, Rastrigin and a step ellipsoid, in 10, 100
// and 1,000 dimensions, at equal evaluations.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

struct BlackboxOptions {
  bool quick = false;  // 10 and 100 dimensions, and a tenth of the evaluations
  uint64_t seed = 1;   // of first points and perturbations
  std::string out_dir = "results/blackbox";  // the folder for plots and CSV
  bool json = false;                         // the summary as JSON instead of a table
  std::function<bool()> stop;                // asked before each lease; true ends the run
};

struct BlackboxRun {
  std::string function;       // its name
  std::string title;          // of the function
  std::string method;         // as on the wire
  uint64_t num_elements = 0;  // d
  uint64_t num_pairs = 0;     // per generation
  double sigma_first = 0;     // of the first generation and of the last
  double sigma_last = 0;
  std::vector<double> evaluations;  // before each version, from 0 on
  std::vector<double> values;       // of the function at the parameters

  bool searches_at_random() const { return method == "random_search"; }
};

// Runs all searches, writes the files, and the summary to `out`. Sessions are deleted in the end,
// also after an error. CANCELLED if `stop` said so.
absl::Status RunBlackbox(const Client& client, const BlackboxOptions& options, std::ostream& out,
                         std::FILE* progress);

// What the runs leave in `folder`. If they were `quick`, the table says for what their evaluations
// are too few. For scripts the rows are "runs", and the files are
//   FUNCTION  FUNCTION.svg of each function
//   curves    blackbox.csv: one row per version
//   summary   summary.csv: one row per run
ReportWriter BlackboxReport(const std::string& folder, absl::Span<const BlackboxRun> runs,
                            bool quick = false);

}  // namespace talweg
