// SPDX-License-Identifier: Apache-2.0
//
// A session at work: the core session, the queue of what wants something of it, and the buffers it
// steps with. Operations on one session run one after the other, on threads of the environment;
// operations on different sessions know nothing of each other. Reading parameters waits for nobody.
//
// Whatever an operation decides goes one way: decide, keep what must be durable (Env::Keep),
// compute, keep, make the version visible, answer. Nobody is told of what a crash could undo, and
// who is told of a version can read it.
//
// A call that waits for other workers is parked (parked_calls.h) until a later operation releases
// it. Gradients that came over streams are folded several at a time, at the latest when the queue
// is empty.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "server/calls/session_calls.h"
#include "server/runtime/answers.h"
#include "server/runtime/env.h"
#include "server/runtime/host_mutation.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/mutex.h"
#include "server/runtime/notice.h"
#include "server/runtime/operation_queue.h"
#include "server/runtime/parameter_pool.h"
#include "server/runtime/parked_calls.h"
#include "server/runtime/session_charge.h"
#include "server/runtime/step_feed.h"
#include "server/runtime/version_line.h"
#include "server/runtime/version_records.h"
#include "server/runtime/visible_version.h"

namespace talweg::server {

// Thread-safe. Callbacks run on threads of the environment.
class SessionHost : public std::enable_shared_from_this<SessionHost> {
 public:
  template <class T>
  using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;
  using DoneStatus = absl::AnyInvocable<void(absl::Status)>;

  // `env` outlives the host; `memory` was reserved for a session of `config`.
  SessionHost(SessionIdentity identity, core::SessionConfig config,
              MemoryBudget::Reservation memory, Env& env);

  const SessionIdentity& identity() const { return identity_; }

  // Makes version 0; once, on a thread that may compute. Every other call, also an earlier one,
  // waits until it is over. If it fails, the host is as if deleted.
  void Create(InitialSource source, DoneStatus done);
  // In place of Create: goes on with a session that was loaded.
  void Restore(std::unique_ptr<core::Session> session);

  // Returns the call's ticket, for Abandon. FIELD_OUT_OF_RANGE, naming its weight, if the session's
  // reduction takes none.
  uint64_t Step(StepInput input, StepDone done);
  // Nobody waits for the answer any more. A contribution that was not judged yet is as if it had
  // never come; the call, unless it was answered, ends as CANCELLED.
  void Abandon(uint64_t ticket);
  // `issue` draws the incarnation when the turn has come, so that later joins get larger ones.
  void Join(std::string worker, core::Roles roles, absl::AnyInvocable<uint64_t()> issue,
            Done<JoinOutcome> done);
  void Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done);
  void Leave(core::Leave leave, DoneStatus done);
  // `change` makes the new configuration from the newest one. As core::Session::Reconfigure, and
  // MEMORY_QUOTA if it takes more memory than there is.
  void Reconfigure(
      uint64_t history,
      absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
      Done<SessionDescription> done);
  void Describe(bool with_checksum, Done<SessionDescription> done);
  // The session as bytes (core::Session::Save).
  void Save(Done<std::string> done);

  // The parameters are those of the visible version: `done` is told at once, or when the session is
  // made. Another point is read when the operation's turn has come. SESSION_DELETED, MEMORY_QUOTA.
  void Read(core::Session::Point point, Done<PointOutcome> done);

  // As VisibleVersion::Held.
  std::shared_ptr<const core::Parameters> Held(uint64_t version) const {
    return visible_.Held(version);
  }
  // How the vector is cut now; null before the session is made.
  std::shared_ptr<const core::GroupMap> group_map() const { return visible_.Get().group_map; }

  // HISTORY_CHANGED, with history and version to go on from, unless `history` is the session's: at
  // once, and before anything else of a request is judged.
  absl::Status CheckHistory(uint64_t history) const;

  // The steps taken, without waiting for the queue. May be held longer than the session, which it
  // does not keep.
  const std::shared_ptr<StepFeed>& feed() const { return feed_; }
  // The records of who made which version, likewise.
  const VersionRecords& records() const { return records_; }
  // For waiting until a version is visible. A wait ends with SESSION_DELETED, or as Drain says.
  VersionLine& versions() { return versions_; }

  // Calls that wait for other workers end with `draining`, and so do later ones that would.
  void Drain(const absl::Status& draining);

  // Every queued, parked and later operation fails with SESSION_DELETED; feed and records are
  // closed.
  void Delete();
  bool deleted() const;
  // Given when it is.
  Notice& deletion() { return deletion_; }

  uint64_t num_elements() const { return num_elements_; }

  // Tests only: a deliberate bug. Before the first operation.
  void SwitchOn(HostMutation mutation) { mutation_ = mutation; }

 private:
  using Task = Env::Task;
  // An operation on the session, which is its own until it calls `finished`. The status says why it
  // must do nothing, if it must.
  using Operation = absl::AnyInvocable<void(absl::Status, Task finished)>;
  // An operation that may end in a fold or a step, and whom it tells what.
  struct Turn;

  void Enqueue(Operation operation);
  OperationQueue::Operation Wrap(Operation operation);
  OperationQueue::Operation WhenQueueIsEmpty();
  void SetAlarm();
  void StartSession(std::unique_ptr<core::Session> session);
  void Publish();
  // Adds the step that was just published to the feed.
  void Remember(absl::Time judged);
  SessionDescription Description(bool with_checksum);
  // Fills `to` with the point, then calls `then`.
  void FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to, Task then);
  // Runs work of the session to its end.
  void Run(std::shared_ptr<core::Work> work,
           absl::AnyInvocable<void(core::Ended, absl::Time)> then);
  absl::Status Deleted() const;
  // Why calls cannot wait here any more; OK if they can.
  absl::Status Over() const;

  // --- What may fold, step or release (session_turn.cc).

  // An operation that lets only what follows from others happen.
  void EnqueueNothing();
  void Tick();
  void RunEvent(absl::Status status, core::Event event, std::shared_ptr<Turn> turn);
  absl::AnyInvocable<Task(absl::Status)> Welcome(uint64_t incarnation, Done<JoinOutcome> done);
  void Change(std::shared_ptr<Turn> turn, uint64_t history,
              const absl::StatusOr<core::SessionConfig>& config);
  absl::Status ReserveMemory(const StepInput& input);
  absl::Status ReserveLookahead();
  void Stage(std::shared_ptr<Turn> turn);
  void Judge(std::shared_ptr<Turn> turn);
  void AnswerOrPark(Turn& turn, core::Effects& effects);
  void Follow(std::shared_ptr<Turn> turn, const core::Event& event, core::Outcome outcome);
  void Keep(const core::Event& event, const core::Effects& effects, absl::Time time, Task kept);
  void EndStep(std::shared_ptr<Turn> turn, core::Ended ended, absl::Time now);
  void Collect(const std::vector<core::Released>& released, Turn& turn);
  void ReleaseAll(const absl::Status& status, Turn& turn);
  void EndTurn(std::shared_ptr<Turn> turn);
  void Conclude(std::shared_ptr<Turn> turn, std::shared_ptr<const core::Parameters> lookahead);

  const SessionIdentity identity_;
  const uint64_t num_elements_;
  Env& env_;
  ParameterPool parameters_;
  Notice deletion_;
  const std::shared_ptr<StepFeed> feed_ = std::make_shared<StepFeed>();
  VersionRecords records_;
  VersionLine versions_;
  VisibleVersion visible_;
  AbandonedTickets abandoned_;
  std::atomic<uint64_t> last_ticket_{0};
  OperationQueue queue_;
  HostMutation mutation_ = HostMutation::kNone;

  // Owned by the operation under way.
  SessionCharge charge_;
  std::unique_ptr<core::SessionConfig> initial_config_;  // until the session is made
  std::unique_ptr<core::Session> session_;               // null before it is made
  // Of contributions in one message; made with the first, for streams bring their own.
  std::shared_ptr<core::StagedGradient> staged_;
  absl::Time published_;  // when the visible version became so, by the monotonic clock
  ParkedCalls parked_;
  std::shared_ptr<core::Parameters> lookahead_;  // while a parked call wants one; else null
  uint64_t alarm_ = 0;
  absl::Time alarm_time_ = absl::InfiniteFuture();

  mutable Mutex mutex_;
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);  // OK: it does not
};

}  // namespace talweg::server
