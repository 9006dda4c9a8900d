// SPDX-License-Identifier: Apache-2.0
//
// The real server binary as a child process on a free loopback port. The process is killed when its
// object is destroyed. For tests and benchmarks.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "client/process/child_process.h"

namespace talweg::testing {

class ServerProcess {
 public:
  // Starts TALWEG_SERVER_BINARY with `flags` and waits until it listens. Throws std::runtime_error
  // if it does not. Without an --address=... among them it takes a free port. The server ends at
  // the latest when the thread that calls this ends.
  explicit ServerProcess(const std::vector<std::string>& flags = {});

  const std::string& address() const { return address_; }
  int port() const;
  pid_t pid() const { return process_->pid(); }
  void Signal(int signal) const { process_->Signal(signal); }
  // Waits for the end of the server and returns its exit status, or -signal if a signal ended it.
  int Wait() { return process_->Wait(); }

 private:
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
};

}  // namespace talweg::testing
