// SPDX-License-Identifier: Apache-2.0
//
// A fault_worker as a child process, and what it writes into its file; and what must hold between
// the records of a session and the files of all workers that worked on it. For fault tests only.
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

// One process of a worker. The next process under the same name is another object. One thread.
class WorkerProcess {
 public:
  struct Options {
    std::string address;
    std::string session_id;
    std::string worker;
    size_t num_elements = 0;
    bool streamed = false;
    std::string how = "free";  // or "paced", or "driven"; fault_worker.cc says what they mean
  };
  struct Sent {
    uint64_t base_version = 0;
    std::string verdict;  // "" if no answer came
    uint64_t applied_version = 0;
    bool replayed = false;
    int num_attempts = 0;
  };
  struct Story {
    uint64_t incarnation = 0;       // 0: the process has not joined
    std::map<uint64_t, Sent> sent;  // by sequence
    std::string ended;              // "" while the process goes on, or if it was killed
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
  // Stops the process with SIGSTOP, and returns when it stands still.
  void Freeze();
  void Wake() const;
  // Makes a driven worker contribute once more.
  void Step();
  // Makes a driven worker leave.
  void CloseInput() { process_->CloseInput(); }

  // What the worker has written so far.
  Story Read() const;
  // Returns when `num` contributions of the worker have been answered, or when it has ended.
  Story AwaitAnswers(size_t num) const;
  // Returns when the worker has joined, or when it has ended.
  Story AwaitJoin() const;

 private:
  const Options options_;
  std::string path_;
  std::unique_ptr<ChildProcess> process_;
};

// Checks everything that must hold of a session when all of `workers` have ended. The session takes
// means of gradients, steps by gradient descent with rate 0.5, and began with zeros.
//
//   - Every version has a record, and no record has a worker twice.
//   - A contribution is in at most one record; it was sent, on the base version that the record
//   says.
//   - A contribution that was answered with APPLIED is in the record of the version that the answer
//     named. Every other contribution is in no record, with one exception: the last contribution of
//     a process may be in one record if it got no answer.
//   - The parameters are, bit for bit, the result of applying the records one after the other.
//
// Adds a failure to the calling test for each point that does not hold.
void ExpectExactlyOnce(const Client& client, const std::string& session_id,
                       const std::vector<std::unique_ptr<WorkerProcess>>& workers,
                       size_t num_elements);

}  // namespace talweg::testing
