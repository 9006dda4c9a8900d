// SPDX-License-Identifier: Apache-2.0
//
// Keeps a worker's lease while the worker computes.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// A thread that sends a heartbeat every third of the lease, whatever the worker does meanwhile. It
// ends when its object is destroyed, or when the server says that this worker no longer belongs to
// the session (the worker's next call then gets the same error). After a lost heartbeat the next
// one follows 100 ms after the connection stands again, at the latest as usual.
class Heartbeat {
 public:
  // `transport` is for the heartbeats alone, so that a large step never holds them up.
  Heartbeat(std::unique_ptr<Transport> transport, const v1::HeartbeatRequest& request,
            absl::Duration lease);
  // Waits at most 5 s for a heartbeat that is under way.
  ~Heartbeat();

  // Why the heartbeats ended: the server's error; OK while they go on.
  absl::Status ended() const;

 private:
  void Run(v1::HeartbeatRequest request, absl::Duration lease);
  // Sleeps for `duration`, or returns true at once when the thread shall stop.
  bool WaitForStop(absl::Duration duration);
  // Likewise, and ends early when a connection that was lost stands again.
  bool WaitForConnection(absl::Duration duration);

  const std::unique_ptr<Transport> transport_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;   // guarded by mutex_
  absl::Status ended_;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace talweg
