// SPDX-License-Identifier: Apache-2.0
//
// A session at work: the core session, the queue of its operations, and the buffers that it steps
// with. Operations on one session run one after the other, on threads of the environment.
// Operations on different sessions do not wait for each other. Reading parameters waits for nobody.
//
// Everything that an operation decides goes through the same sequence: decide, keep what must be
// durable (Env::Keep), compute, keep, make the version visible, answer. So nobody is told of
// anything that a crash could undo, and a caller that is told of a version can read it.
//
// A call that waits for other workers is parked (parked_calls.h) until a later operation releases
// it. Gradients that came over streams are folded several at a time, at the latest when the queue
// is empty.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
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
#include "server/runtime/generation_records.h"
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

  // Makes version 0. Must be called once, on a thread that may compute. All other operations,
  // earlier ones too, wait until version 0 is made. If Create fails, the host behaves as if it were
  // deleted.
  void Create(InitialSource source, DoneStatus done);
  // Called instead of Create: goes on with a session that was loaded.
  void Restore(std::unique_ptr<core::Session> session);

  // Takes a contribution. Returns the call's ticket, for Abandon. Fails with FIELD_OUT_OF_RANGE,
  // naming the weight, if the session's reduction uses no weights.
  uint64_t Step(StepInput input, StepDone done);
  // The caller no longer waits for the answer. If the contribution was not judged yet, it is
  // treated as if it had never come. If the call was not answered yet, it ends as CANCELLED.
  void Abandon(uint64_t ticket);
  // Asks for something to evaluate. Returns the call's ticket, for Abandon. Fails with WRONG_METHOD
  // if the session does not search, and else as core::SearchMachine does.
  uint64_t Ask(core::Ask ask, AskDone done);
  // Tells losses. Fails likewise, and with MEMORY_QUOTA.
  void Tell(core::Tell tell, Done<TellOutcome> done);
  // `issue` makes the incarnation of `join`. It is called when the operation begins, so that later
  // joins get larger incarnations.
  void Join(core::Join join, absl::AnyInvocable<uint64_t()> issue, Done<JoinOutcome> done);
  void Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done);
  void Leave(core::Leave leave, DoneStatus done);
  // `change` makes the new configuration from the newest configuration. Fails as
  // core::Session::Reconfigure does, with MEMORY_QUOTA if there is too little memory for it, and
  // with CONFIG_CHANGED if it would change a configuration that has another number than
  // `expected_config_version`.
  void Reconfigure(
      uint64_t history,
      absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
      Done<SessionDescription> done,
      std::optional<uint64_t> expected_config_version = std::nullopt);
  void Describe(const DescribeOptions& options, Done<SessionDescription> done);
  // The session as bytes (core::Session::Save).
  void Save(Done<std::string> done);

  // The parameters are those of the visible version: `done` is called at once, or when the session
  // is made. Every other point is read by an operation, which waits in the queue. Fails with
  // SESSION_DELETED or MEMORY_QUOTA.
  void Read(core::Session::Point point, Done<PointOutcome> done);

  // As VisibleVersion::Held.
  std::shared_ptr<const core::Parameters> Held(uint64_t version) const {
    return visible_.Held(version);
  }
  // How the vector is cut now; null before the session is made.
  std::shared_ptr<const core::GroupMap> group_map() const { return visible_.Get().group_map; }

  // Fails with HISTORY_CHANGED, with the history and the version to go on from, unless `history` is
  // that of the session. Answers at once. Call it before anything else of a request is judged.
  absl::Status CheckHistory(uint64_t history) const;

  // The steps that were taken; reading them does not wait for the queue. The feed may be held
  // longer than the session lives, and does not keep the session alive.
  const std::shared_ptr<StepFeed>& feed() const { return feed_; }
  // The records of the versions; reading them does not wait for the queue.
  const VersionRecords& records() const { return records_; }
  // The generations that have closed; reading them does not wait for the queue. Empty unless the
  // session searches.
  const GenerationRecords& generations() const { return generations_; }
  // For waiting until a version is visible. If the session is deleted or drained, the wait ends
  // with SESSION_DELETED or with the status of Drain.
  VersionLine& versions() { return versions_; }

  // Calls that wait for other workers end with the status `draining`, and so does every later call
  // that would have to wait.
  void Drain(const absl::Status& draining);

  // Every queued, parked and later operation fails with SESSION_DELETED; feed and records are
  // closed.
  void Delete();
  bool deleted() const;
  // The notice that is given when the session is deleted.
  Notice& deletion() { return deletion_; }

  uint64_t num_elements() const { return num_elements_; }
  // The layers that contributions may bring statistics of.
  const std::shared_ptr<const core::LayerTable>& layers() const { return layers_; }
  bool searches() const { return searches_; }

  // Tests only: a deliberate bug. Call it before the first operation.
  void SwitchOn(HostMutation mutation) { mutation_ = mutation; }

 private:
  using Task = Env::Task;
  // An operation has the session to itself until it calls `finished`. If the status is an error,
  // the operation must not do what it is for, and tells its caller that error.
  using Operation = absl::AnyInvocable<void(absl::Status, Task finished)>;
  // The state of an operation that may end in a fold or a step, and the answers that it gives.
  struct Turn;

  void Enqueue(Operation operation);
  OperationQueue::Operation Wrap(Operation operation);
  OperationQueue::Operation WhenQueueIsEmpty();
  void SetAlarm();
  void StartSession(std::unique_ptr<core::Session> session);
  void Publish();
  // Adds to the feed the step that was just published.
  void Remember(absl::Time judged);
  SessionDescription Description(const DescribeOptions& options);
  // Fills `to` with the point, then calls `then`.
  void FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to, Task then);
  // Runs work of the session, ends it (core::Session::End), and then calls `then`.
  void Run(std::shared_ptr<core::Work> work,
           absl::AnyInvocable<void(core::Ended, absl::Time)> then);
  absl::Status Deleted() const;
  // The reason why calls cannot wait here any more; OK if they can.
  absl::Status Over() const;

  // --- Operations that may fold, step or release calls (session_turn.cc).

  // Adds an operation that does nothing itself, so that calls are released if they must be.
  void EnqueueNothing();
  void Tick();
  void RunEvent(absl::Status status, core::Event event, std::shared_ptr<Turn> turn);
  absl::AnyInvocable<Task(absl::Status)> Welcome(const Turn& turn, Done<JoinOutcome> done);
  void Change(std::shared_ptr<Turn> turn, uint64_t history,
              const absl::StatusOr<core::SessionConfig>& config);
  // CONFIG_CHANGED if `config` differs from the newest configuration, whose number is not
  // `expected`.
  absl::Status CheckConfigVersion(std::optional<uint64_t> expected,
                                  const core::SessionConfig& config) const;
  absl::Status ReserveMemory(const StepInput& input);
  absl::Status ReserveLookahead();
  void Stage(std::shared_ptr<Turn> turn);
  void Judge(std::shared_ptr<Turn> turn);
  void AnswerOrPark(Turn& turn, core::Effects& effects);
  void Follow(std::shared_ptr<Turn> turn, const core::Event& event, core::Outcome outcome);
  void Keep(const core::Event& event, const core::Effects& effects,
            const core::SearchEffects* search, absl::Time time, Task kept);
  void Keep(const Decision& decision, Task kept);
  void EndStep(std::shared_ptr<Turn> turn, core::Ended ended, absl::Time now);
  // Warns if a version has parameters that are not finite, and the version before had none.
  // Has inverses computed beside the steps; an operation installs them.
  void BeginRefresh(std::shared_ptr<core::InverseRefresh> refresh);
  void WarnOnce(const core::StepTaken& taken);
  void WarnOfGivenUp();
  void Collect(const std::vector<core::Released>& released, Turn& turn);
  void ReleaseAll(const absl::Status& status, Turn& turn);
  void EndTurn(std::shared_ptr<Turn> turn);
  void Conclude(std::shared_ptr<Turn> turn, std::shared_ptr<const core::Parameters> lookahead);

  // --- Operations of a session that searches (search_turn.cc).

  void FollowSearch(std::shared_ptr<Turn> turn, core::SearchEvent event, core::Outcome outcome);
  // What follows from a decision once it is kept: calls are answered, and work runs.
  void Proceed(std::shared_ptr<Turn> turn, core::Outcome& outcome);
  void AnswerOrParkAsk(Turn& turn, core::Outcome& outcome);
  AskOutcome AskOutcomeOf(core::AskAnswer answer) const;
  // Answers the asks that waited and have a lease now.
  void CollectGiven(core::SearchEffects* search, Turn& turn);
  // Ends an ask that waits; false if no ask has this ticket.
  bool FailAsk(uint64_t ticket, const absl::Status& status, Turn& turn);
  void ReleaseAllAsks(const absl::Status& status, Turn& turn);
  // A generation closes: notes its configuration, which may not be in force any more once its step
  // is taken.
  void NoteClosingConfig();
  // The worker whose call of this ticket waits, whatever the call is; empty if none does. And ends
  // such a call.
  std::string WorkerThatWaits(uint64_t ticket) const;
  void FailParked(uint64_t ticket, const absl::Status& status, Turn& turn);

  const SessionIdentity identity_;
  const uint64_t num_elements_;
  const std::shared_ptr<const core::LayerTable> layers_;
  const bool searches_;
  Env& env_;
  ParameterPool parameters_;
  Notice deletion_;
  const std::shared_ptr<StepFeed> feed_ = std::make_shared<StepFeed>();
  VersionRecords records_;
  GenerationRecords generations_;
  VersionLine versions_;
  VisibleVersion visible_;
  AbandonedTickets abandoned_;
  std::atomic<uint64_t> last_ticket_{0};
  OperationQueue queue_;
  HostMutation mutation_ = HostMutation::kNone;

  // The members below belong to the operation under way.
  SessionCharge charge_;
  std::unique_ptr<core::SessionConfig> initial_config_;  // until the session is made
  std::unique_ptr<core::Session> session_;               // null before it is made
  // For contributions that come in one message. It is made for the first of them, because streams
  // bring staged gradients of their own.
  std::shared_ptr<core::StagedGradient> staged_;
  bool parameters_are_finite_ = true;
  bool gives_up_ = false;  // A generation was given up since the last version.
  absl::Time published_;   // when the visible version became visible, by the monotonic clock
  uint64_t published_config_version_ = 0;  // that was in force when something was last published
  ParkedCalls parked_;
  ParkedAsks parked_asks_;
  // The configuration of the generation that closed last, and its number; only if the session
  // searches.
  std::shared_ptr<const core::SessionConfig> closing_config_;
  uint64_t closing_config_version_ = 0;
  // Memory for the lookahead that a parked call wants; null if no parked call wants it.
  std::shared_ptr<core::Parameters> lookahead_;
  uint64_t alarm_ = 0;
  absl::Time alarm_time_ = absl::InfiniteFuture();

  mutable Mutex mutex_;
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);  // OK: the host does not drain
};

}  // namespace talweg::server
