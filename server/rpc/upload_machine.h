// SPDX-License-Identifier: Apache-2.0
//
// A stream that uploads the initial values of a session, as phases, without gRPC.
//
//   begin --create--> opening --the grant--> open --commit--> making --the session--> over
//
// Values are written to their place in version 0 as they come. Whatever ends the stream before the
// commit, the upload is let go, and another stream may go on with it; only if its values are wrong
// or its time is over is it thrown away.
//
// The machine has no thread, clock or socket. It asks the interface below for what it needs, and an
// answer that takes time comes as a call of the machine. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/runtime/uploads.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg::server {

// The server and the client, as an upload sees them.
class UploadWorld {
 public:
  virtual ~UploadWorld() = default;
  // Checks the request, whose memory the upload then holds. Answers with Opened; or with Created,
  // if the request asks for a dry run, or made its session before. `request` is borrowed.
  virtual void Open(const v1::CreateSessionRequest& request) = 0;
  // Nobody waits any more for the answer to Open.
  virtual void StopOpening() = 0;
  // Makes the session of an upload that is whole. Answers with Created. The session is made also if
  // the stream ends meanwhile.
  virtual void Make(std::unique_ptr<Upload> upload) = 0;

  virtual void SendGrant(uint64_t begin_element, uint64_t num_elements) = 0;
  virtual void SendCreated(const v1::CreateSessionResponse& created) = 0;
  // Ends the stream when what was sent is written. LetGo follows, and nothing else.
  virtual void End(const absl::Status& status) = 0;
};

class UploadMachine {
 public:
  explicit UploadMachine(UploadWorld& world) : world_(world) {}

  // Whether the next frame may be looked at.
  bool TakesFrames() const { return phase_ == Phase::kBegin || phase_ == Phase::kOpen; }
  void Take(const v1::UploadSessionRequest& frame);
  // The client has half-closed.
  void NoMoreFrames();

  // Answers to what the machine asked for.
  void Opened(absl::StatusOr<std::unique_ptr<Upload>> upload);
  void Created(const absl::StatusOr<v1::CreateSessionResponse>& created);

  // What the stream that holds an upload is told.
  void Hear(Uploads::News news);
  // The server stops: `draining` says so. An upload after its commit goes on.
  void Stop(const absl::Status& draining);
  // The stream is over: gives up everything that it holds. May be called again.
  void LetGo();

 private:
  enum class Phase { kBegin, kOpening, kOpen, kMaking, kOver };

  absl::Status TakeFrame(const v1::UploadSessionRequest& frame);
  absl::Status TakeChunk(const v1::Chunk& chunk);
  absl::Status TakeCommit(const v1::UploadCommit& commit);

  UploadWorld& world_;
  Phase phase_ = Phase::kBegin;
  bool is_taken_over_ = false;      // before it was opened
  std::unique_ptr<Upload> upload_;  // while the phase is kOpen
};

}  // namespace talweg::server
