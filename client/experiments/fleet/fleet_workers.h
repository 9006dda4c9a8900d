// SPDX-License-Identifier: Apache-2.0
//
// The worker processes of a fleet: started, killed by a plan, started again under their names, and
// stopped.
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
  std::unique_ptr<ChildProcess> process;  // the last one; null while it stays away
  absl::Time comes_back;                  // where `process` is null
  bool done = false;                      // it ended well: there is nothing left to do
  uint64_t failures = 0;                  // ends that nobody asked for, since its last step
  std::string last_words;                 // of what is for people
};

// Thread-compatible; see ChildProcess about the thread that makes it.
class FleetWorkers {
 public:
  struct Options {
    std::string program;
    // The words that start the process number `life`, from 0 on, of a worker.
    std::function<std::vector<std::string>(const std::string& worker, uint64_t life)> arguments;
    size_t num_workers = 1;
    absl::Duration kill_every;  // zero: never
    absl::Duration lease;
    uint64_t seed = 1;  // of the kills
    // Told what happened: "worker-2 killed". Unset: nobody is.
    std::function<void(const std::string& text)> tell;
  };

  FleetWorkers(Options options, absl::Time now);

  // Starts all.
  absl::Status Start();
  // Reads what they said, starts again who is due, kills whom the plan says. Call about every 50
  // ms. Fails where a worker keeps ending by itself, with its last words.
  absl::Status Tick(absl::Time now);
  // SIGTERM to all, SIGKILL to those that still run after `grace`; reads what they said last.
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
