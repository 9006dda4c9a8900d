// SPDX-License-Identifier: Apache-2.0
//
// A fault_worker as a child process, and what its file says; and what must hold between a session's
// records and the files of all workers that worked on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/cpp/talweg/client.h"
#include "client/process/child_process.h"

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
    std::string verdict;  // "" if no answer came
    uint64_t applied_version = 0;
    bool replayed = false;
    int num_attempts = 0;
  };
  struct Story {
    uint64_t incarnation = 0;       // 0: it has not joined
    std::map<uint64_t, Sent> sent;  // by sequence
    std::string ended;              // "" while it goes on, or if it was killed
    // How many contributions were answered.
    size_t num_answered() const;
  };

  explicit WorkerProcess(const Options& options);
  // Kills the process, if it still runs, and removes what it wrote.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  const std::string& worker() const { return options_.worker; }
  void Signal(int signal) const { process_->Signal(signal); }
  // Waits for its end and returns the exit status, or -signal if a signal ended it.
  int Wait() { return process_->Wait(); }
  // Freezes it; returns when it stands still.
  void Freeze();
  void Wake() const;
  // A driven worker contributes once more.
  void Step();
  // A driven worker leaves.
  void CloseInput() { process_->CloseInput(); }

  // What it has said so far.
  Story Read() const;
  // Returns when `num` of its contributions were answered, or it has ended.
  Story AwaitAnswers(size_t num) const;
  // Returns when it has joined, or ended.
  Story AwaitJoin() const;

 private:
  const Options options_;
  std::string path_;
  std::unique_ptr<ChildProcess> process_;
};

// Everything that must hold of a session of mean gradients, gradient descent with rate 0.5 and
// parameters that began as zeros, when all of `workers` have ended:
//   records are there for every version, each with every worker at most once;
//   a contribution is in at most one record, and it was sent, on the version that the record says;
//   a contribution that was answered with APPLIED is in the record of the version that the answer
//   named; every other one is in no record, except that the last contribution of a worker, if it
//   got no answer, may be in one; the parameters are, bit for bit, what one gets by applying the
//   records one after the other.
// Adds a failure to the calling test for each that does not.
void ExpectExactlyOnce(const Client& client, const std::string& session_id,
                       const std::vector<std::unique_ptr<WorkerProcess>>& workers,
                       size_t num_elements);

}  // namespace talweg::testing
