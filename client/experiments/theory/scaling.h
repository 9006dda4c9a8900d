// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment scaling`: the two ways in which more workers make training faster, more
// accurate gradients against more frequent updates. Told is how many gradients each of 1, 2, 4, ...
// workers takes until the loss is a hundredth of the first.
//
//   accurate   synchronous rounds of all workers: a round averages n gradients
//   frequent   asynchronous, in turn: each contribution makes a version and is n - 1 versions old
//
// Time is counted in gradients of one worker: each gradient takes one tick, and the network takes
// no time. So a round takes one tick, and so do n versions of the asynchronous workers.
//
// The problem is that of noisy_valley.h, once with much noise and once with little. Every run has
// the constant rate that theory finds fastest for it, and theory's number of gradients stands
// beside the number that was counted. The synchronous workers are threads. The asynchronous workers
// take turns, so that every contribution is exactly n - 1 versions old. Neither result depends on
// how fast the machine is.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

struct ScalingOptions {
  uint64_t max_workers = 32;                 // 1, 2, 4, ... up to this, in [1, 256]
  std::vector<double> noises = {0.5, 0.03};  // each in [0.001, 1], at most 6
  uint64_t seed = 1;                         // of the noise
  std::string out_dir = "results/scaling";   // the folder for plot and CSV
  bool json = false;                         // the summary as JSON instead of a table
  std::function<bool()> stop;                // asked often, by any thread; true ends the run
};

// One way with one number of workers.
struct ScalingPoint {
  uint64_t num_workers = 1;
  double rate = 0;         // as tuned
  double gradients = 0;    // of each worker, as counted
  double expected = 0;     // of each worker, by theory
  uint64_t versions = 0;   // as counted
  uint64_t staleness = 0;  // the largest
};

// Both ways on one problem, one point for each number of workers.
struct ScalingRun {
  double noise = 0;
  std::vector<ScalingPoint> accurate;
  std::vector<ScalingPoint> frequent;
};

// Makes all runs. Sessions are deleted in the end, also after an error. CANCELLED if `stop` said
// so; INVALID_ARGUMENT for numbers out of their range.
absl::StatusOr<std::vector<ScalingRun>> MeasureScaling(const Client& client,
                                                       const ScalingOptions& options,
                                                       std::FILE* progress);

// The same; also writes the files, and the summary to `out`.
absl::Status RunScaling(const Client& client, const ScalingOptions& options, std::ostream& out,
                        std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   plot     scaling.svg
//   summary  scaling.csv: one row per point
ReportWriter ScalingReport(const std::string& folder, absl::Span<const ScalingRun> runs);

}  // namespace talweg
