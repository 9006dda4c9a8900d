// SPDX-License-Identifier: Apache-2.0
//
// A talweg-server on a free loopback port that ends with its object: for one experiment.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "client/process/child_process.h"

namespace talweg {

// Thread-compatible. See ChildProcess about the thread that makes one. A thread of its own reads
// what the server says, and drops it, so that its pipe does not fill.
class OwnServer {
 public:
  // Starts the talweg-server that stands beside this program, else the one on $PATH, and waits
  // until it listens, at most 30 s. NOT_FOUND if there is no such program; UNAVAILABLE, with the
  // server's words, if it does not come up.
  static absl::StatusOr<std::unique_ptr<OwnServer>> Start();
  // Stops the server, within 10 s.
  ~OwnServer();

  const std::string& address() const { return address_; }

 private:
  OwnServer(std::unique_ptr<ChildProcess> process, std::string address);

  const std::unique_ptr<ChildProcess> process_;
  const std::string address_;
  std::jthread reader_;  // of process_, which nobody else uses while it runs
};

}  // namespace talweg
