// SPDX-License-Identifier: Apache-2.0
//
// The calls of the wire, one attempt each, without gRPC's types. Retries stand on it, and tests
// replace it.
#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/step_stream.h"
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/session_service.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

// One server. Each call makes one attempt of at most `timeout`. It fails as the server said, with
// UNAVAILABLE if the connection is lost (pings notice within half a minute that the other end has
// vanished), or with DEADLINE_EXCEEDED. For Pull, `timeout` is how long it waits for each message.
// Thread-safe.
class Transport {
 public:
  // Takes one message of the stream. An error ends the stream, and Pull returns it.
  using TakeMessage = absl::FunctionRef<absl::Status(const v1::PullResponse& message)>;

  // The same for the messages of a watch.
  using TakeSteps = absl::FunctionRef<absl::Status(const v1::WatchSessionResponse& message)>;
  // Called ten times a second while nothing comes. An error ends the call, which returns it.
  using Idle = absl::FunctionRef<absl::Status()>;

  virtual ~Transport() = default;
  virtual absl::Status Call(const v1::CreateSessionRequest& request,
                            v1::CreateSessionResponse& response, absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::GetSessionRequest& request, v1::GetSessionResponse& response,
                            absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::ListSessionsRequest& request,
                            v1::ListSessionsResponse& response, absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::UpdateSessionRequest& request,
                            v1::UpdateSessionResponse& response, absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::DeleteSessionRequest& request,
                            v1::DeleteSessionResponse& response, absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::JoinRequest& request, v1::JoinResponse& response,
                            absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::HeartbeatRequest& request, v1::HeartbeatResponse& response,
                            absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::LeaveRequest& request, v1::LeaveResponse& response,
                            absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::StepRequest& request, v1::StepResponse& response,
                            absl::Duration timeout) = 0;
  // The same for a step that waits for other workers.
  virtual absl::Status Wait(const v1::StepRequest& request, v1::StepResponse& response, Idle idle,
                            absl::Duration timeout) = 0;
  // An ask, which waits for something to evaluate; a tell, which waits for the step if it closes
  // the generation.
  virtual absl::Status Wait(const v1::AskRequest& request, v1::AskResponse& response, Idle idle,
                            absl::Duration timeout) = 0;
  virtual absl::Status Wait(const v1::TellRequest& request, v1::TellResponse& response, Idle idle,
                            absl::Duration timeout) = 0;
  virtual absl::Status Call(const v1::ListVersionRecordsRequest& request,
                            v1::ListVersionRecordsResponse& response, absl::Duration timeout) = 0;
  virtual absl::Status Pull(const v1::PullRequest& request, TakeMessage take, Idle idle,
                            absl::Duration timeout) = 0;
  // With `follow` the stream has no end of its own, and `timeout` may be infinite.
  virtual absl::Status Watch(const v1::WatchSessionRequest& request, TakeSteps take, Idle idle,
                             absl::Duration timeout) = 0;

  using TakeGeneration =
      absl::FunctionRef<absl::Status(const v1::WatchGenerationsResponse& message)>;
  // The same for closed generations.
  virtual absl::Status WatchGenerations(const v1::WatchGenerationsRequest& request,
                                        TakeGeneration take, Idle idle, absl::Duration timeout) = 0;

  using TakeGrant = absl::FunctionRef<absl::Status(const v1::UploadGrant& grant)>;
  // Makes the next frame; false if there is none.
  using NextFrame = absl::FunctionRef<bool(v1::UploadSessionRequest& frame)>;
  // One stream of an upload: sends `create`, hands the grant to `take`, if one comes, and then
  // sends the frames that `next` makes, until the server answers with the session. `timeout` is how
  // long nothing may move.
  virtual absl::Status UploadSession(const v1::CreateSessionRequest& create, TakeGrant take,
                                     NextFrame next, v1::CreateSessionResponse& response,
                                     absl::Duration timeout) = 0;

  // Opens a stream of contributions, over the connection that calls go over now. Never null: the
  // first events tell if there is no server.
  virtual std::unique_ptr<StepStream> OpenStepStream() = 0;

  // Waits for `duration`. If there is no connection, dials meanwhile, and returns true as soon as
  // there is one. A caller that retries must wait between its calls in this way: gRPC works on a
  // connection only while somebody waits for it or for a call, and otherwise once in 5 s.
  virtual bool Rest(absl::Duration duration) = 0;
  // Makes the calls from now on go over a new connection. The old connection may be half-open,
  // which only a deadline tells.
  virtual void Reconnect() = 0;
  // Another transport to the same server, with a connection of its own.
  virtual std::unique_ptr<Transport> Clone() const = 0;
};

}  // namespace talweg
