// SPDX-License-Identifier: Apache-2.0
//
// Keeps a worker's lease while the worker thinks.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// A thread that sends a heartbeat every third of the lease until it is destroyed, or until the
// server says that this worker is no longer one (the worker's next call then gets the same error).
// Lost heartbeats are simply followed by the next.
class Heartbeat {
 public:
  // `transport` is the heartbeats' own, so that a large step never holds them up.
  Heartbeat(std::unique_ptr<Transport> transport, const v1::HeartbeatRequest& request,
            absl::Duration lease);
  // Waits for a heartbeat under way, at most 5 s.
  ~Heartbeat();

  // Why the heartbeats ended: the server's error; OK while they go on.
  absl::Status ended() const;

 private:
  void Run(v1::HeartbeatRequest request, absl::Duration lease);
  // Sleeps, or returns true at once when told to stop.
  bool WaitForStop(absl::Duration duration);

  const std::unique_ptr<Transport> transport_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;   // guarded by mutex_
  absl::Status ended_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace talweg
