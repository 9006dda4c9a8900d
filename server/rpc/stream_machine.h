// SPDX-License-Identifier: Apache-2.0
//
// A stream of contributions as phases, without gRPC: header, grant, chunks, commit, judgement,
// reply, and then the next header.
//
//   resting --header--> open --commit--> whole --the reply before is made--> judging --> resting
//
// Memory for the gradient is asked for with the first header, and the grant tells the client that
// it is there. A stream that has memory and nothing to put there (at rest, and while its
// contribution is judged) gives it up as soon as others wait for memory. It asks again with the
// next header, and so does a stream whose next header brings more statistics than it has memory
// for; its client need not know, for its grant stays good, and the frames that follow wait until
// the memory is there. A worker that abstains sends no chunks: its commit needs neither memory nor
// a grant, and a grant that it has stays good for its next contribution.
//
// The machine has no thread, clock or socket. It asks the interfaces below for what it needs, and
// an answer that takes time comes as a call of the machine. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/rounds/event.h"
#include "core/session/parameter_groups.h"
#include "core/session/staged_gradient.h"
#include "core/session/statistics.h"
#include "server/calls/reply_spec.h"
#include "server/calls/session_calls.h"
#include "server/runtime/memory_budget.h"
#include "server/wire/contribution_assembler.h"
#include "server/wire/reply_frames.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg::server {

// The session that a stream is for.
class StreamSession {
 public:
  virtual ~StreamSession() = default;
  virtual const std::string& id() const = 0;
  virtual uint64_t history() const = 0;
  virtual uint64_t num_elements() const = 0;
  virtual std::shared_ptr<const core::GroupMap> group_map() const = 0;
  virtual std::shared_ptr<const core::LayerTable> layers() const = 0;
  // HISTORY_CHANGED if the session is on another history.
  virtual absl::Status CheckHistory(uint64_t history) const = 0;
  // Answers with SessionMade.
  virtual void AwaitMade() = 0;
  // Answers with Judged.
  virtual void Step(StepInput input) = 0;
  // Nobody waits any more for the answer to the last Step.
  virtual void Abandon() = 0;
  // Tells the session that the worker lives. Nothing comes back.
  virtual void ShowLife(core::Heartbeat heartbeat) = 0;
};

// The budget that staging comes from.
class StreamMemory {
 public:
  virtual ~StreamMemory() = default;
  // Asks for memory and answers with Granted. MEMORY_QUOTA if there can never be as much.
  virtual absl::Status Ask(uint64_t bytes) = 0;
  // Leaves the line for memory, if the stream stands in it.
  virtual void StopAsking() = 0;
  // Whether others wait for memory now.
  virtual bool OthersWait() const = 0;
  // Answers with Wanted, once, when others begin to wait.
  virtual void WatchForOthers() = 0;
  virtual void StopWatching() = 0;
};

// The way back to the client.
class StreamOutput {
 public:
  virtual ~StreamOutput() = default;
  virtual void SendGrant(uint64_t num_elements) = 0;
  // Sends the frames of a reply and answers with ReplyMade when the last frame was made. The
  // machine does not call it again before that.
  virtual void SendReply(ReplyFrames reply) = 0;
  // Ends the stream. LetGo follows, and nothing else.
  virtual void End(const absl::Status& status) = 0;
};

class StreamMachine {
 public:
  // While a worker sends chunks, ShowLife is called at most once in this time.
  static constexpr absl::Duration kSignOfLife = absl::Seconds(1);

  struct World {
    StreamOutput& output;
    StreamMemory& memory;
    // The session of that id, for the first header. SESSION_NOT_FOUND.
    std::function<absl::StatusOr<std::unique_ptr<StreamSession>>(const std::string&)> find;
    // DRAINING once the server stops.
    std::function<absl::Status()> check_open;
    std::function<absl::Time()> now;  // monotonic
  };

  explicit StreamMachine(World world) : world_(std::move(world)) {}

  // --- Frames.

  // Whether the next frame may be looked at. It may not while a contribution is judged, nor while
  // the machine waits for memory for which its client has a grant already.
  bool TakesFrames() const;
  void Take(const v1::StreamStepRequest& frame);

  // --- Answers to what the machine asked for.

  void SessionMade(const absl::Status& made);
  void Granted(MemoryBudget::Reservation memory);
  void Wanted();
  // `more_may_come`: the client has not half-closed, or some of its frames are still to be looked
  // at.
  void Judged(const absl::StatusOr<StepOutcome>& outcome, bool more_may_come);
  void ReplyMade();

  // --- What may happen at any time.

  // The server stops: what is granted goes on, nothing new begins.
  void Stop() { stopping_ = true; }
  void SessionDeleted();
  // The stream is over: gives up everything that it holds. May be called again.
  void LetGo();

  // How the stream ends in its present phase, or nothing if it goes on; asked when nothing is left
  // to take, to make or to write. `no_more_frames`: the client has half-closed, and all that it
  // sent was taken.
  std::optional<absl::Status> EndAtRest(bool no_more_frames) const;

 private:
  enum class Phase {
    kResting,  // a header may come
    kOpen,     // chunks and the commit may come, once there is memory for the chunks
    kWhole,    // all has come; the session gets it when the reply before is made
    kJudging,  // the session has it
  };
  // Where a contribution is put together, and the memory for it. The last holder, the stream or the
  // step, gives both back.
  struct Staging;

  absl::Status TakeFrame(const v1::StreamStepRequest& frame);
  absl::Status TakeHeader(const v1::StreamHeader& header);
  absl::Status TakeChunk(const v1::Chunk& chunk);
  absl::Status TakeCommit();
  void ShowLife();
  // Does nothing if the stream stands in the line for memory already.
  void AskForMemory();
  // What staging takes: a gradient, and the statistics of the header if a contribution is open.
  uint64_t BytesNeeded() const;
  // Makes a place for the statistics of the header that came last, if it has any.
  absl::Status PlaceStatistics();
  // Tells the client that there is memory, unless it has a grant that it has not used.
  void SendGrant();
  // Called when the stream has memory and nothing to put there: gives it up when others want it.
  void Rest();
  void StepIfWhole();

  const World world_;
  ContributionAssembler assembler_;
  Phase phase_ = Phase::kResting;
  bool stopping_ = false;
  bool replying_ = false;                   // frames of a reply are still to be made
  bool asking_ = false;                     // stands in the line for memory
  bool grant_is_out_ = false;               // the client was told, and has not used it since
  std::unique_ptr<StreamSession> session_;  // of the first header
  std::shared_ptr<Staging> staging_;
  uint64_t asked_bytes_ = 0;  // of the memory that was asked for last
  v1::ContributionHeader header_;
  std::optional<core::StatisticsShape> statistics_shape_;  // of the header
  ReplySpec reply_spec_;
  absl::Time last_sign_of_life_ = absl::InfinitePast();
};

}  // namespace talweg::server
