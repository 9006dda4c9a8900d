// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment fleet`: worker processes that train MNIST together through one server, some of
// them killed and started again meanwhile, one of them slow; and the ways of making versions
// compared.
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

namespace talweg {

struct FleetOptions {
  std::string server;  // HOST:PORT; empty: one of its own, gone when it is done
  ClientOptions client;
  std::string mode = "synchronous";  // name of FleetModes()
  bool compare = false;              // all modes, one after the other, instead
  uint64_t num_workers = 4;          // in [1, 256]
  // Contributions that close a round of k_of_n, in [1, num_workers]. Unset: all but one.
  std::optional<uint64_t> k;
  std::optional<uint64_t> num_rounds;  // >= 1. Unset: 1000; 300 in a comparison
  uint64_t batch_size = 128;           // images a gradient, in [1, 60000]
  uint64_t seed = 1;                   // of initial values, batches and kills
  uint64_t lease_seconds = 2;          // in [1, 3600]
  absl::Duration kill_every;           // kill -9 one of them at random; zero: never
  std::optional<double> slowdown;      // of the last worker, >= 1. Unset: 1; 10 in a comparison
  // What a gradient takes at least. Unset: nothing; 20 ms in a comparison, where otherwise the
  // cores of this machine would be the bottleneck, and not the straggler.
  std::optional<absl::Duration> pace;
  std::string out_dir = "results/fleet";  // where plots and CSV go
  std::string data_dir;                   // folder of the data; empty: FindMnist() looks
  bool json = false;                      // the summary as JSON instead of a table
  // Asked ten times a second: true ends the run. Should be that of `client.retry`, too.
  std::function<bool()> stop;
};

// Runs it; draws the fleet at work to `progress` (a page where it is a terminal, else lines), the
// summary to `out`. Sessions are deleted and all processes gone in the end, also after an error.
// Call on a thread that lives as long. CANCELLED where `stop` said so, INVALID_ARGUMENT for numbers
// out of their range.
absl::Status RunFleet(const FleetOptions& options, std::ostream& out, std::FILE* progress);

struct FleetFiles {
  std::string rounds;   // rounds.svg: smoothed loss against rounds
  std::string time;     // time.svg: against seconds
  std::string curves;   // loss.csv: a row a version
  std::string summary;  // summary.csv: a row a run
};

absl::StatusOr<FleetFiles> WriteFleetFiles(const std::string& folder,
                                           absl::Span<const FleetRun> runs);
// The summary for a person.
std::string FleetTable(absl::Span<const FleetRun> runs);
// The summary and the paths for a script, one JSON object.
std::string FleetJson(absl::Span<const FleetRun> runs, const FleetFiles& files);

}  // namespace talweg
