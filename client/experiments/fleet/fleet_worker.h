// SPDX-License-Identifier: Apache-2.0
//
// `talweg experiment fleet_worker`: one worker of a fleet. It takes the network from the session,
// draws batches of its own, and contributes one gradient after the other until the session is at
// its last version. `fleet` starts its workers by itself. One more may be started by hand, also on
// another machine.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

struct FleetWorkerOptions {
  std::string session_id;
  std::string worker;         // its name
  uint64_t num_versions = 0;  // the worker ends when the session has that many
  uint64_t batch_size = 128;  // images per gradient, in [1, 60000]
  uint64_t seed = 1;          // of the batches, with the name and `life`
  uint64_t life = 0;          // how many processes the worker had before this one
  // How long a gradient takes at least, so that a fleet on a few cores is as slow as one on many.
  absl::Duration pace;
  double slowdown = 1;         // that time is multiplied by this, >= 1
  std::string data_dir;        // folder of the data; empty: FindMnist() looks
  std::function<bool()> stop;  // true ends the worker; `client` should have the same
};

// Joins, works, leaves. Writes a line of worker_line.h for each contribution to `out`. Returns OK
// also if the worker was stopped or the session was deleted.
absl::Status RunFleetWorker(const Client& client, const FleetWorkerOptions& options,
                            std::ostream& out);

}  // namespace talweg
