// SPDX-License-Identifier: Apache-2.0
//
// A talweg-server for one experiment: on a free loopback port, gone with it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/experiments/child_process.h"

namespace talweg {

// Thread-compatible; see ChildProcess about the thread that makes it.
class OwnServer {
 public:
  // Starts the talweg-server that stands beside this program, else the one on $PATH, and waits
  // until it listens, at most 30 s. NOT_FOUND where there is none; UNAVAILABLE, with its words,
  // where it does not come up.
  static absl::StatusOr<std::unique_ptr<OwnServer>> Start();
  // Stops it, within 10 s.
  ~OwnServer();

  const std::string& address() const { return address_; }
  // Call now and then: reads what it says, so that its pipe does not fill.
  void Drain() { process_->ReadLines(); }

 private:
  OwnServer(std::unique_ptr<ChildProcess> process, std::string address)
      : process_(std::move(process)), address_(std::move(address)) {}

  std::unique_ptr<ChildProcess> process_;
  const std::string address_;
};

}  // namespace talweg
