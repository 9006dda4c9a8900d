// SPDX-License-Identifier: Apache-2.0
//
// The server as one object: its options, and its start and stop in the right order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace talweg::server {

class Doorkeeper;

struct ServerOptions {
  std::string address = "127.0.0.1:50551";  // host:port; port 0 takes a free port
  size_t num_threads = 0;                   // of the compute pool; 0: one per CPU that may be used
  uint64_t memory_bytes = 0;                // for all sessions; 0: three fifths of what there is
  // For contributions in one message that wait; as much again for streamed contributions, and for
  // replies in one message. 0: a sixth of the memory for sessions, at least 192 MiB.
  uint64_t message_bytes = 0;
  size_t max_sessions = 10000;
  // How long an upload of initial values is kept after the last chunk, or after its stream broke.
  absl::Duration upload_patience = absl::Seconds(60);
  bool insecure = false;  // listen beyond loopback without encryption
  // What stands at the door besides the log, in this order. Borrowed; they outlive the server.
  std::vector<Doorkeeper*> doorkeepers = {};
};

// Thread-safe.
class Server {
 public:
  // Listens and serves. INVALID_ARGUMENT if an option is wrong, UNAVAILABLE if the address cannot
  // be had.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Stops as Stop(0) would, unless the server was stopped before.
  ~Server();

  // The address with the port that was taken, "127.0.0.1:50551".
  const std::string& address() const;

  // Bytes that contributions under way hold.
  uint64_t message_bytes() const;
  // Bytes that sessions hold, uploads of initial values included.
  uint64_t session_bytes() const;
  // Whether a stream waits for memory.
  bool streams_wait() const;

  // The health service "ready" says NOT_SERVING from now on; calls are still served.
  void NotReady();
  // New calls are refused with DRAINING, and so are watchers and streams without a contribution
  // under way; what is under way goes on.
  void Refuse();
  // Refuses, waits up to `grace` for calls under way, cuts those that remain, and returns when
  // nothing of the server runs any more. Takes at least 0.3 s, or `grace` if that is less: for so
  // long new calls are still told why they are refused.
  void Stop(absl::Duration grace);

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace talweg::server
