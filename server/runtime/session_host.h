// SPDX-License-Identifier: Apache-2.0
//
// A session at work: the core session, the queue of what wants something of it, and the buffers it
// steps with. Operations on one session run one after the other, on threads of the compute pool;
// operations on different sessions know nothing of each other. Reading parameters waits for nobody.
//
// A call that waits for other workers is parked: it holds its callback and nothing else, until a
// later operation releases it. While a round is open the host holds the buffer of the next version,
// so that whatever closes the round, a deadline or a farewell, needs no memory then. Gradients that
// came over streams are folded several at a time, at the latest when the queue is empty.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "server/calls/session_calls.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/mutex.h"
#include "server/runtime/notice.h"
#include "server/runtime/parameter_pool.h"
#include "server/runtime/step_feed.h"
#include "server/runtime/version_line.h"
#include "server/runtime/version_records.h"

namespace talweg::server {

// Thread-safe. Callbacks run on threads of the pool.
class SessionHost : public std::enable_shared_from_this<SessionHost> {
 public:
  template <class T>
  using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;
  using DoneStatus = absl::AnyInvocable<void(absl::Status)>;

  SessionHost(SessionIdentity identity, core::SessionConfig config,
              MemoryBudget::Reservation memory, ComputePool& pool);

  const SessionIdentity& identity() const { return identity_; }

  // Makes version 0; once, on a thread of the pool. Every other call, also an earlier one, waits
  // until it is over. Where it fails the host is as if deleted.
  void Create(InitialSource source, DoneStatus done);

  // Returns the call's ticket, for Abandon. FIELD_OUT_OF_RANGE, naming its weight, where the
  // session's reduction takes none.
  uint64_t Step(StepInput input, Done<StepOutcome> done);
  // Nobody waits for the answer any more. A contribution that was not judged yet is as if it had
  // never come; the call, unless it was answered, ends as CANCELLED.
  void Abandon(uint64_t ticket);
  // `issue` draws the incarnation when the turn has come, so that later joins get larger ones.
  void Join(std::string worker, core::Roles roles, absl::AnyInvocable<uint64_t()> issue,
            Done<JoinOutcome> done);
  void Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done);
  void Leave(core::Leave leave, DoneStatus done);
  // `change` makes the new configuration from the newest one. As core::Session::Reconfigure, and
  // MEMORY_QUOTA where it takes more memory than there is.
  void Reconfigure(
      uint64_t history,
      absl::AnyInvocable<absl::StatusOr<core::SessionConfig>(const core::SessionConfig&)> change,
      Done<SessionDescription> done);
  void Describe(bool with_checksum, Done<SessionDescription> done);

  // The parameters (`point` empty): those of the visible version at once, or when the session is
  // made. Another point: when its turn has come. SESSION_DELETED, MEMORY_QUOTA.
  void Read(std::optional<core::Session::Point> point, Done<PointOutcome> done);

  // The parameters of an earlier version that somebody still reads, or of the visible one; else
  // null.
  std::shared_ptr<const core::Parameters> Held(uint64_t version) const;

  // How the vector is cut now; null before the session is made.
  std::shared_ptr<const core::GroupMap> group_map() const;

  // HISTORY_CHANGED, with history and version to go on from, unless `history` is the session's: at
  // once, and before anything else of a request is judged.
  absl::Status CheckHistory(uint64_t history) const;

  // The steps taken, without waiting for the queue. May be held longer than the session, which it
  // does not keep.
  const std::shared_ptr<StepFeed>& feed() const { return feed_; }

  // Who made which version, likewise.
  const VersionRecords& records() const { return records_; }
  // For who waits until a version is visible. It ends with SESSION_DELETED, or as Drain says.
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

 private:
  // An operation calls `next` when it is over; until then the session is its own.
  using Next = absl::AnyInvocable<void()>;
  using Operation = absl::AnyInvocable<void(absl::Status, Next)>;

  // A call that is over, but for its answer.
  struct Due {
    Done<StepOutcome> done;
    absl::StatusOr<core::Answer> answer;
    bool wants_lookahead = false;
  };
  // A call that waits.
  struct Parked {
    std::string worker;
    bool wants_lookahead = false;
    Done<StepOutcome> done;
  };
  // An operation that may end in a fold or a step, and who is told what when it is over.
  struct Work;

  void Enqueue(Operation operation);
  void RunFront();
  void Finished();
  void SetAlarm();
  void FinishCreate(absl::Status made, DoneStatus done);
  void Publish();
  // Adds the step that was just published to the feed.
  void Remember(absl::Time judged);
  SessionDescription Description(bool with_checksum);
  absl::Status Deleted() const;
  // Why calls cannot wait here any more; OK where they can.
  absl::Status Over() const;
  // Fills `to` with the point, then calls `then`.
  void FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to,
                 absl::AnyInvocable<void()> then);

  // --- What may fold, step or release (session_host_step.cc).

  // An operation that lets only what follows from others happen.
  void EnqueueNothing();
  Operation FoldTaken();
  void Tick();
  void RunEvent(absl::Status status, const core::Event& event, std::shared_ptr<Work> work);
  absl::AnyInvocable<Next(absl::Status)> Welcome(uint64_t incarnation, Done<JoinOutcome> done);
  absl::Status Change(uint64_t history, const core::SessionConfig& config);
  void Recharge();
  bool IsAbandoned(uint64_t ticket) const;
  absl::Status TakeMemory(const StepInput& input);
  absl::Status TakeLookahead();
  void Refuse(std::shared_ptr<Work> work, absl::Status status);
  void Judge(std::shared_ptr<Work> work);
  void CarryOut(std::shared_ptr<Work> work, const core::Effects& effects);
  void RunStage(std::shared_ptr<Work> work, size_t stage);
  Due Unpark(std::map<uint64_t, Parked>::iterator parked, absl::StatusOr<core::Answer> answer);
  void Collect(const std::vector<core::Released>& released, Work& work);
  void ReleaseAll(const absl::Status& status, Work& work);
  void EndWork(std::shared_ptr<Work> work);
  void Conclude(std::shared_ptr<Work> work, std::shared_ptr<const core::Parameters> lookahead);

  const SessionIdentity identity_;
  const uint64_t num_elements_;
  MemoryBudget::Reservation memory_;  // of the operation under way: changes with the groups
  MemoryBudget::Reservation extra_;   // of the open round, as it turned out
  ComputePool& pool_;
  ParameterPool parameters_;
  Notice deletion_;
  const std::shared_ptr<StepFeed> feed_ = std::make_shared<StepFeed>();
  VersionRecords records_;
  VersionLine versions_;
  std::atomic<uint64_t> last_ticket_{0};

  // Owned by the operation under way; null before the session is made.
  std::unique_ptr<core::SessionConfig> initial_config_;
  // Of contributions in one message; made with the first, for streams bring their own.
  std::shared_ptr<core::StagedGradient> staged_;
  std::unique_ptr<core::Session> session_;
  absl::Time published_;               // when the visible version became so, by the monotonic clock
  std::map<uint64_t, Parked> parked_;  // by ticket
  size_t num_parked_for_lookahead_ = 0;          // of them
  std::shared_ptr<core::Parameters> next_;       // while a round is open; else null
  std::shared_ptr<core::Parameters> lookahead_;  // while a parked call wants one; else null
  bool recharges_ = false;  // what the session takes changes with the next version
  uint64_t alarm_ = 0;
  absl::Time alarm_time_ = absl::InfiniteFuture();

  mutable Mutex mutex_;
  std::deque<Operation> queue_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = true;  // an operation, at first Create
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status draining_ ABSL_GUARDED_BY(mutex_);         // OK: it does not
  std::set<uint64_t> abandoned_ ABSL_GUARDED_BY(mutex_);  // tickets that may still be judged
  std::shared_ptr<const core::Parameters> visible_ ABSL_GUARDED_BY(mutex_);
  double next_learning_rate_ ABSL_GUARDED_BY(mutex_) = 0;  // of the step after the visible version
  static constexpr size_t kMaxRecent = 16;
  std::deque<std::weak_ptr<const core::Parameters>> recent_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const core::GroupMap> group_map_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
