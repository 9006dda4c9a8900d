// SPDX-License-Identifier: Apache-2.0
//
// A fault_worker as a child, and what its file says; and what must hold of a session's records
// beside the files of all that worked on it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"

namespace talweg::testing {

// One life of a worker.
class WorkerProcess {
 public:
  struct Options {
    std::string address;
    std::string session_id;
    std::string worker;
    size_t num_elements = 0;
    bool streamed = false;
    std::string how = "free";  // or "paced", "driven": as in fault_worker.cc
  };
  struct Sent {
    uint64_t base_version = 0;
    std::string verdict;  // "" where no answer came
    uint64_t applied_version = 0;
    bool replayed = false;
    int num_attempts = 0;
  };
  struct Story {
    uint64_t incarnation = 0;       // 0: it has not joined
    std::map<uint64_t, Sent> sent;  // by sequence
    std::string ended;              // "" while it goes on, or where it was killed
    // Contributions that were answered.
    size_t num_answered() const;
  };

  explicit WorkerProcess(const Options& options);
  // Kills it, if it still runs.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  const std::string& worker() const { return options_.worker; }
  void Signal(int signal) const;
  // Waits for its end and returns the exit status, or -signal where a signal ended it.
  int Wait();
  // Freezes it; returns when it stands still.
  void Freeze();
  void Wake() const;
  // A driven worker contributes once more.
  void Step();
  // A driven worker leaves.
  void CloseInput();

  // What it has said so far.
  Story Read() const;
  // Returns when `num` of its contributions were answered, or it has ended.
  Story AwaitAnswers(size_t num) const;
  // Returns when it has joined, or ended.
  Story AwaitJoin() const;

 private:
  const Options options_;
  std::string path_;
  pid_t pid_ = -1;
  int input_ = -1;
};

// Everything that must hold of a session of mean gradients, gradient descent with rate 0.5 and
// parameters that began as zeros, when all of `workers` have ended:
//   records are there for every version, each with every worker at most once;
//   a contribution is in at most one record, and it was sent, on the version that the record says;
//   what was answered with APPLIED is in the record of the version it was told, all else in none,
//   but for the last contribution of a worker that got no answer, which may be in one;
//   the parameters are, bit for bit, those of whoever applies the records one after the other.
// Adds a failure to the calling test for each that does not.
void ExpectExactlyOnce(const Client& client, const std::string& session_id,
                       const std::vector<std::unique_ptr<WorkerProcess>>& workers,
                       size_t num_elements);

}  // namespace talweg::testing
