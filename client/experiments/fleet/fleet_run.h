// SPDX-License-Identifier: Apache-2.0
//
// What one run of a fleet gave: its curve, from the records of the server, and sums of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/experiments/fleet/fleet_mode.h"
#include "client/experiments/fleet/worker_line.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// Sums over versions. The server tells every version to whoever reads as fast as they are made; who
// does not is told fewer, and the sums are of those.
struct FleetRun {
  FleetMode mode = {};
  FleetShape shape;
  uint64_t batch_size = 0;
  double slowdown = 1;      // of the last worker; 1: none is slow
  double pace_seconds = 0;  // what a gradient takes at least

  // A value a version.
  std::vector<double> rounds;   // version / versions a round
  std::vector<double> seconds;  // since version 1 was made
  std::vector<double> losses;   // mean over the contributors; a NaN where none told one
  std::vector<uint64_t> versions;
  std::vector<uint64_t> staleness;
  std::vector<uint64_t> contributors;
  uint64_t num_contributions = 0;  // that were applied
  uint64_t num_late = 0;           // workers that a version was made without, though they lived
  double staleness_sum = 0;        // over versions; of each the oldest contribution's
  uint64_t max_staleness = 0;

  WorkerTally tally;  // over all workers, as they said
  uint64_t num_kills = 0;
  uint64_t num_restarts = 0;
  uint64_t num_expiries = 0;  // leases that ran out, as seen five times a second
  double test_accuracy = 0;   // share of the test images, at the end

  // Takes the record of a version, later than those before; one beyond the last version of the run
  // is passed over.
  void Add(const v1::StepRecord& record);

  uint64_t last_version() const { return versions.empty() ? 0 : versions.back(); }
  bool complete() const { return last_version() >= NumVersions(mode, shape); }
  double last_second() const { return seconds.empty() ? 0 : seconds.back(); }
  double mean_staleness() const;
  // Mean over the last tenth of the versions, at least one of them.
  double final_loss() const;
  // Over the last `window` seconds, or all the time where that is less; 0 where nothing was made.
  double RoundsASecond(double window) const;
  double RoundsASecond() const { return RoundsASecond(last_second()); }
  // Share of the workers' time spent waiting for answers.
  double wait_share() const;

 private:
  absl::Time first_time_;
};

}  // namespace talweg
