// SPDX-License-Identifier: Apache-2.0
//
// The worker processes of a fleet. They are started, killed by a plan, started again under their
// names, and stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/experiments/fleet/kill_plan.h"
#include "client/experiments/fleet/worker_line.h"
#include "client/process/child_process.h"

namespace talweg {

// One worker, over all of its processes.
struct FleetWorker {
  std::string name;
  uint64_t num_starts = 0;
  WorkerTally tally;
  std::unique_ptr<ChildProcess> process;  // the last one; null while the worker stays away
  absl::Time comes_back;                  // when it is started again, if `process` is null
  bool done = false;                      // it ended well: there is nothing left to do
  uint64_t failures = 0;                  // ends that nobody asked for, since its last step
  std::string last_words;                 // the last line that was for people
};

// Thread-compatible. See ChildProcess about the thread that starts processes.
class FleetWorkers {
 public:
  struct Options {
    std::string program;
    // The arguments of a worker's process number `life`, counted from 0.
    std::function<std::vector<std::string>(const std::string& worker, uint64_t life)> arguments;
    size_t num_workers = 1;
    absl::Duration kill_every;  // zero: never
    absl::Duration lease;
    uint64_t seed = 1;  // of the kills
    // Called with what happened: "worker-2 killed". Unset: nothing is called.
    std::function<void(const std::string& text)> tell;
  };

  FleetWorkers(Options options, absl::Time now);

  // Starts all workers.
  absl::Status Start();
  // Reads what the workers said, starts those again whose absence is over, and kills the one that
  // the plan names. Call about every 50 ms. Fails if a worker keeps ending by itself, with its last
  // words.
  absl::Status Tick(absl::Time now);
  // Sends SIGTERM to all, and SIGKILL to those that still run after `grace`. Reads what they said
  // last.
  void Stop(absl::Duration grace);

  absl::Span<const FleetWorker> workers() const { return workers_; }
  size_t num_running() const;
  uint64_t num_kills() const { return num_kills_; }
  uint64_t num_restarts() const { return num_restarts_; }

 private:
  absl::Status StartOne(FleetWorker& worker);
  void Read(FleetWorker& worker);
  absl::Status NoteEnd(FleetWorker& worker, absl::Time now);
  void Tell(const std::string& text);

  const Options options_;
  KillPlan plan_;
  std::vector<FleetWorker> workers_;
  uint64_t num_kills_ = 0;
  uint64_t num_restarts_ = 0;
};

}  // namespace talweg
