// SPDX-License-Identifier: Apache-2.0
//
// Many workers in one process: any number of calls under way at the same time, over a few
// connections, on one thread. Bare stubs, no retries. Errors carry the server's reason
// (client/cpp/talweg/status.h).
//
// A connection takes 256 calls at the same time; more wait for their turn on this side.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::testing {

// Thread-safe. Callbacks run on the swarm's thread, and may begin other calls.
class Swarm {
 public:
  template <class Response>
  using Done = std::function<void(const absl::Status& status, Response& response)>;

  // With connections of its own. Worker i uses connection i modulo their number.
  Swarm(const std::string& address, size_t num_connections);
  // Cancels what is under way; its callbacks run before this returns.
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  void Join(size_t worker, const v1::JoinRequest& request, Done<v1::JoinResponse> done);
  void Heartbeat(size_t worker, const v1::HeartbeatRequest& request,
                 Done<v1::HeartbeatResponse> done);
  void Leave(size_t worker, const v1::LeaveRequest& request, Done<v1::LeaveResponse> done);
  void Step(size_t worker, const v1::StepRequest& request, Done<v1::StepResponse> done);
  // A call that does nothing: the health check.
  void Check(size_t worker, std::function<void(const absl::Status& status)> done);

  // Frames with the chunks of a vector, serialized once for all who send them.
  struct Frames;
  static std::shared_ptr<const Frames> Serialize(const std::vector<v1::StreamStepRequest>& chunks);

  // A StreamStep call, open until it fails or the swarm ends. Reads whatever comes.
  class Stream {
   public:
    virtual ~Stream() = default;
    // Sends a whole contribution when its grant has come; `done` gets the trailer's response. One
    // at a time.
    virtual void Contribute(const v1::StreamHeader& header, std::shared_ptr<const Frames> chunks,
                            Done<v1::StepResponse> done) = 0;
  };
  Stream& OpenStream(size_t worker);

  // Returns when no call, and no stream's contribution, is under way.
  void Wait();

 private:
  struct Parts;
  class WireStream;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace talweg::testing
