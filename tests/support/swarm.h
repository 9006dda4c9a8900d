// SPDX-License-Identifier: Apache-2.0
//
// Many workers in one process: any number of calls are under way at the same time, over a few
// connections, on one thread. The calls are those of the bare stubs, without retries. Errors carry
// the server's reason (client/cpp/talweg/status.h). For tests and benchmarks.
//
// A connection takes 256 calls at the same time; further calls wait for their turn on this side.
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

  // The swarm has `num_connections` connections of its own; worker i uses connection
  // i modulo `num_connections`.
  Swarm(const std::string& address, size_t num_connections);
  // Cancels the calls that are under way; their callbacks run before this returns.
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

  // Frames with the chunks of a vector, serialized once for all workers that send them.
  struct Frames;
  static std::shared_ptr<const Frames> Serialize(const std::vector<v1::StreamStepRequest>& chunks);

  // A StreamStep call, which is open until it fails or the swarm ends. It reads every frame that
  // comes.
  class Stream {
   public:
    virtual ~Stream() = default;
    // Sends a whole contribution when its grant has come; `done` gets the response of the trailer.
    // Only one contribution of a stream may be under way at a time.
    virtual void Contribute(const v1::StreamHeader& header, std::shared_ptr<const Frames> chunks,
                            Done<v1::StepResponse> done) = 0;
  };
  Stream& OpenStream(size_t worker);

  // Returns when no call and no contribution of a stream is under way.
  void Wait();

 private:
  struct Parts;
  class WireStream;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace talweg::testing
