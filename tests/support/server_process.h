// SPDX-License-Identifier: Apache-2.0
//
// The real binary as a child process on a free loopback port.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace talweg::testing {

class ServerProcess {
 public:
  // Starts TALWEG_SERVER_BINARY with `flags` and waits until it listens. Throws std::runtime_error
  // where it does not. It ends when the thread that this is called on does.
  explicit ServerProcess(const std::vector<std::string>& flags = {});
  // Kills it, if it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return address_; }
  int port() const;
  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Waits for its end and returns the exit status, or -signal where a signal ended it.
  int Wait();

 private:
  pid_t pid_ = -1;
  std::string address_;
};

}  // namespace talweg::testing
