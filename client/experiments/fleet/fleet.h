// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment fleet`: worker processes train MNIST together through one server. Some of them
// may be killed and started again meanwhile, and one may be slow. The ways in which a server makes
// versions out of their gradients can be compared.
#pragma once

#include <cstdio>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/client.h"
#include "client/experiments/fleet/fleet_run.h"
#include "client/experiments/plots/report_writer.h"

namespace talweg {

struct FleetOptions {
  std::string server;  // HOST:PORT, also for the worker processes
  ClientOptions client;
  std::string mode = "synchronous";  // a name of FleetModes()
  bool compare = false;              // run all modes instead, one after the other
  uint64_t num_workers = 4;          // in [1, 256]
  // How many contributions close a round of k_of_n, in [1, num_workers]. Unset: one less than
  // num_workers.
  std::optional<uint64_t> k;
  std::optional<uint64_t> num_rounds;  // >= 1. Unset: 1000; 300 in a comparison
  uint64_t batch_size = 128;           // images per gradient, in [1, 60000]
  uint64_t seed = 1;                   // of initial values, batches and kills
  uint64_t lease_seconds = 2;          // in [1, 3600]
  // A random worker is killed with kill -9 this often; zero: never.
  absl::Duration kill_every;
  std::optional<double> slowdown;  // of the last worker, >= 1. Unset: 1; 10 in a comparison
  // How long a gradient takes at least. Unset: no time; 20 ms in a comparison, because otherwise
  // the cores of this machine would be the bottleneck, and not the straggler.
  std::optional<absl::Duration> pace;
  std::string out_dir = "results/fleet";  // the folder for plots and CSV
  std::string data_dir;                   // folder of the data; empty: FindMnist() looks
  bool json = false;                      // the summary as JSON instead of a table
  // Asked ten times a second; true ends the run. `client.retry` should have the same.
  std::function<bool()> stop;
};

// Runs the experiment. Draws the fleet at work to `progress` (as a page on a terminal, else as
// lines) and writes the summary to `out`. In the end all sessions are deleted and all processes
// gone, also after an error; they also end with the calling thread. CANCELLED if `stop` said so,
// INVALID_ARGUMENT for numbers out of their range.
absl::Status RunFleet(const FleetOptions& options, std::ostream& out, std::FILE* progress);

// What the runs leave in `folder`. For scripts the rows are "runs", and the files are
//   rounds   rounds.svg: smoothed loss against rounds
//   time     time.svg: against seconds
//   curves   loss.csv: one row per version
//   summary  summary.csv: one row per run
ReportWriter FleetReport(const std::string& folder, absl::Span<const FleetRun> runs);

}  // namespace talweg
