// SPDX-License-Identifier: Apache-2.0
//
// A session at work: the core session, the queue of what wants something of it, and the buffers it
// steps with. Operations on one session run one after the other, on threads of the compute pool;
// operations on different sessions know nothing of each other. Reading parameters waits for nobody.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/session/initial_values.h"
#include "core/session/session.h"
#include "core/session/staged_gradient.h"
#include "server/runtime/compute_pool.h"
#include "server/runtime/memory_budget.h"
#include "server/runtime/mutex.h"
#include "server/runtime/notice.h"
#include "server/runtime/parameter_pool.h"
#include "server/runtime/step_feed.h"

namespace talweg::server {

// Whom a session is made for, and what is known of it before any memory is taken.
struct SessionIdentity {
  std::string session_id;
  std::string request_id;
  uint32_t request_digest = 0;  // of the whole create request
  uint64_t history = 0;
  absl::Time create_time;
};

// Where version 0 comes from: a checked plan, or numbers that are known to be finite in float32 and
// of the layout's size. Their bytes must live until the session is made.
using InitialSource = std::variant<core::InitialValues, core::EncodedVector>;

// What Describe tells.
struct SessionDescription {
  SessionIdentity identity;
  std::optional<core::SessionConfig> config;
  uint64_t config_version = 0;
  uint64_t version = 0;
  uint64_t memory_bytes = 0;
  uint32_t num_workers = 0;
  uint32_t num_live_workers = 0;
  std::optional<core::StepReport> last_step;
  std::optional<uint32_t> checksum;
};

// A contribution as it came from the wire, with the whole gradient, whose bytes must live until the
// answer.
struct StepInput {
  core::Contribution contribution;  // the gradient's facts are filled in here
  std::vector<double> losses;
  core::EncodedVector gradient;
  // The gradient staged already, in the place of `gradient`; null: the host stages it.
  std::shared_ptr<core::StagedGradient> staged = nullptr;
  // Whether the answer needs the lookahead.
  bool wants_lookahead = false;
  // Asked when its turn has come: true where nobody waits for the answer any more. Such a
  // contribution is as if it had never arrived. Empty: somebody does.
  std::function<bool()> abandoned = nullptr;
};

struct StepOutcome {
  core::Answer answer;
  std::shared_ptr<const core::Parameters> parameters;  // of the current version
  std::shared_ptr<const core::Parameters> previous;    // where this call took the step: before it
  // Where it was asked for and is not the parameters themselves: of the current version.
  std::shared_ptr<const core::Parameters> lookahead;
  double next_learning_rate = 0;  // eta of the coming step
};

// A point of the visible version.
struct PointOutcome {
  std::shared_ptr<const core::Parameters> values;
  bool is_parameters = true;  // or what it comes to
  double next_learning_rate = 0;
};

// What a worker learns when it joins or shows that it lives.
struct JoinOutcome {
  uint64_t history = 0;
  uint64_t version = 0;
  uint64_t incarnation = 0;
  uint64_t lease_seconds = 0;
};

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

  void Step(StepInput input, Done<StepOutcome> done);
  // `issue` draws the incarnation when the turn has come, so that later joins get larger ones.
  void Join(std::string worker, absl::AnyInvocable<uint64_t()> issue, Done<JoinOutcome> done);
  void Heartbeat(core::Heartbeat heartbeat, Done<JoinOutcome> done);
  void Leave(core::Leave leave, DoneStatus done);
  // `change` makes the new configuration from the current one. As core::Session::Reconfigure, and
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

  // Every queued and later operation fails with SESSION_DELETED; the feed is closed.
  void Delete();
  bool deleted() const;
  // Given when it is.
  Notice& deletion() { return deletion_; }

  uint64_t num_elements() const { return num_elements_; }

 private:
  // An operation calls `next` when it is over; until then the session is its own.
  using Next = absl::AnyInvocable<void()>;
  using Operation = absl::AnyInvocable<void(absl::Status, Next)>;

  void Enqueue(Operation operation);
  void RunFront();
  void Finished();
  struct StepCall;
  void FinishCreate(absl::Status made, DoneStatus done);
  void Judge(std::shared_ptr<StepCall> call);
  void RunStage(std::shared_ptr<StepCall> call, size_t stage);
  void EndStep(std::shared_ptr<StepCall> call, core::Answer answer);
  // Fills `to` with the point, then calls `then`.
  void FillPoint(core::Session::Point point, std::shared_ptr<core::Parameters> to,
                 absl::AnyInvocable<void()> then);
  absl::Status Change(uint64_t history, const core::SessionConfig& config);
  void Publish();
  // Adds the step that was just published to the feed.
  void Remember(absl::Time judged);
  absl::Status Deleted() const;
  SessionDescription Description(bool with_checksum);
  JoinOutcome Welcome(uint64_t incarnation) const;

  const SessionIdentity identity_;
  const uint64_t num_elements_;
  MemoryBudget::Reservation memory_;  // of the operation under way: changes with the groups
  ComputePool& pool_;
  ParameterPool parameters_;
  Notice deletion_;
  const std::shared_ptr<StepFeed> feed_ = std::make_shared<StepFeed>();

  // Owned by the operation under way; null before the session is made.
  std::unique_ptr<core::SessionConfig> initial_config_;
  // Of contributions in one message; made with the first, for streams bring their own.
  std::unique_ptr<core::StagedGradient> staged_;
  std::unique_ptr<core::Session> session_;
  absl::Time published_;  // when the visible version became so, by the monotonic clock

  mutable Mutex mutex_;
  std::deque<Operation> queue_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = true;  // an operation, at first Create
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const core::Parameters> visible_ ABSL_GUARDED_BY(mutex_);
  double next_learning_rate_ ABSL_GUARDED_BY(mutex_) = 0;  // of the step after the visible version
  static constexpr size_t kMaxRecent = 16;
  std::deque<std::weak_ptr<const core::Parameters>> recent_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const core::GroupMap> group_map_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace talweg::server
