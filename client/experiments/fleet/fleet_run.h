// SPDX-License-Identifier: Apache-2.0
//
// What one run of a fleet gave: its curve, from the records of the server, and sums over the curve.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/experiments/fleet/fleet_mode.h"
#include "client/experiments/fleet/worker_line.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// The sums are over the versions that were told. The server tells every version to a reader that
// reads as fast as versions are made; a slower reader is told fewer.
struct FleetRun {
  FleetMode mode = {};
  FleetShape shape;
  uint64_t batch_size = 0;
  double slowdown = 1;      // of the last worker; 1: none is slow
  double pace_seconds = 0;  // how long a gradient takes at least

  // One value per version.
  std::vector<double> rounds;   // the version divided by the versions of a round
  std::vector<double> seconds;  // since version 1 was made
  std::vector<double> losses;   // mean over the contributors; NaN if none told a loss
  std::vector<uint64_t> versions;
  std::vector<uint64_t> staleness;
  std::vector<uint64_t> contributors;
  uint64_t num_contributions = 0;  // that were applied
  uint64_t num_late = 0;     // live workers that a version was made without, summed over versions
  double staleness_sum = 0;  // over versions, of the oldest contribution of each
  uint64_t max_staleness = 0;

  WorkerTally tally;  // over all workers, as they said
  uint64_t num_kills = 0;
  uint64_t num_restarts = 0;
  uint64_t num_expiries = 0;  // leases that ran out, as seen five times a second
  double test_accuracy = 0;   // share of the test images, at the end

  // Adds the record of a version. A record that is not later than those before, or that is beyond
  // the last version of the run, is passed over.
  void Add(const v1::StepRecord& record);

  uint64_t last_version() const { return versions.empty() ? 0 : versions.back(); }
  bool complete() const { return last_version() >= NumVersions(mode, shape); }
  double last_second() const { return seconds.empty() ? 0 : seconds.back(); }
  double mean_staleness() const;
  // The mean over the last tenth of the versions, and over at least one.
  double final_loss() const;
  // Over the last `window` seconds, or over all the time if that is less; 0 if no version was made.
  double RoundsASecond(double window) const;
  double RoundsASecond() const { return RoundsASecond(last_second()); }
  // Share of the workers' time spent waiting for answers.
  double wait_share() const;

 private:
  absl::Time first_time_;
};

}  // namespace talweg
