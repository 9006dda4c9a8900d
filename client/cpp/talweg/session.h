// SPDX-License-Identifier: Apache-2.0
//
// A worker of a session: gradients out, the next point in, each contribution exactly once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/talweg/options.h"
#include "client/cpp/talweg/status.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

class Transport;
struct ClientOptions;

// What became of a contribution.
struct StepResult {
  v1::Verdict verdict = v1::VERDICT_UNSPECIFIED;
  bool replayed = false;  // the remembered answer of an attempt whose reply was lost
  // Version made, or, where it is pending, that it will be part of; otherwise the one it was judged
  // at.
  uint64_t applied_version = 0;
  // While it is pending: no version will have the contribution as a part. It is, for one, the
  // worker's second contribution to one round.
  bool will_not_count = false;
  uint64_t data_version = 0;  // version of the parameters that came back
  // How many contributed and who was late, learning rate, norms, loss. Set where the verdict is
  // APPLIED.
  std::optional<v1::StepReport> report;
  double next_learning_rate = 0;  // of the coming step; a lookahead was made with it
  int num_attempts = 1;           // calls made, streams begun, for this answer

  bool applied() const { return verdict == v1::VERDICT_APPLIED; }
  // It waits for other contributions, or for slower workers: no acknowledgement yet.
  bool pending() const { return verdict == v1::VERDICT_PENDING; }
};

// Made by Client::Join(). Heartbeats of its own keep the lease from a background thread. Sequence
// numbers are the library's business: calls that are lost are retried under the same sequence, so
// no contribution is ever applied twice.
//
// Errors keep the server's reason (status.h). Two of them end this worker's story:
//   HISTORY_CHANGED     the session lost or changed its past: call Reattach(), pull, go on
//   INCARNATION_FENCED  another process has this worker's name: final, stop
//
// Movable. Thread-compatible: one thread at a time. Destroying it without Leave() stops the
// heartbeats and lets the lease run out.
class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Contributes `gradient` ([num_elements], taken at version()) and waits for the step. The new
  // point goes to `parameters` ([num_elements], may overlap nothing, or empty: none is sent and
  // version() stays). `losses`: at most 16, the first at version(). A refused contribution is not
  // an error: see the verdict.
  //
  // Large contributions (ClientOptions::stream_threshold_bytes) go over one stream that stays open
  // from step to step, and take as long as they move.
  //
  // Where replies_wait(), the answer comes when other workers have done their part, within
  // RetryOptions::round_timeout; or is VERDICT_PENDING at once where `options` says so.
  //
  // Fails with UNAVAILABLE or DEADLINE_EXCEEDED where no answer came in time, with CANCELLED where
  // RetryOptions::stop ended a wait: the contribution may have been applied, and ResumeStep() finds
  // out (its copy of the gradient is made only then); or with the server's error, which changed
  // nothing. After an error the contents of `parameters` are unspecified: they may be of any
  // version, or of several.
  absl::StatusOr<StepResult> Step(absl::Span<const float> gradient, absl::Span<float> parameters,
                                  absl::Span<const double> losses = {},
                                  const StepOptions& options = {});

  // Sends the last contribution again, under its own sequence and options, after a Step or
  // ResumeStep that got no answer, or, with StepOptions::return_pending, a pending one;
  // FAILED_PRECONDITION where there is none such. Waits for other workers unless `return_pending`.
  absl::StatusOr<StepResult> ResumeStep(absl::Span<float> parameters, bool return_pending = false);

  // Step in two halves, for sessions with max_staleness > 0: while one contribution's parameters
  // come in, the next one's gradient goes out.
  //
  //   SubmitStep(g0, w);  SubmitStep(g1, w2);  AwaitStep() -> w;  SubmitStep(g2, w);  AwaitStep() …
  //
  // SubmitStep returns when the contribution has been sent whole and the one submitted before it,
  // if any, has its answer; a small one has its own answer then, too. At most two may wait for
  // their AwaitStep; both spans are the library's until then. Each contribution is based on
  // version(), which AwaitStep moves. Exactly once, as Step: the second is committed when the first
  // is answered.
  //
  // After UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED what was submitted waits on, and AwaitStep
  // goes on with it; after an error with the server's reason nothing waits. INVALID_ARGUMENT for
  // return_pending.
  absl::Status SubmitStep(absl::Span<const float> gradient, absl::Span<float> parameters,
                          absl::Span<const double> losses = {}, const StepOptions& options = {});

  // Waits for the answer to the oldest contribution that was submitted. FAILED_PRECONDITION where
  // there is none.
  absl::StatusOr<StepResult> AwaitStep();

  // Fills `parameters` ([num_elements]) with the current version and returns it; version() becomes
  // it unless the point is the average. Large pulls go on where a broken stream ended.
  absl::StatusOr<uint64_t> Pull(absl::Span<float> parameters, const PullOptions& options = {});

  // Joins anew after HISTORY_CHANGED and returns the version to go on from: pull before the next
  // step. Refused with INCARNATION_FENCED once this worker was fenced.
  absl::StatusOr<uint64_t> Reattach();

  // Takes the worker off the session and stops the heartbeats. A second Leave does nothing.
  absl::Status Leave();

  const std::string& session_id() const;
  const std::string& worker() const;
  bool replies_wait() const;  // whether a step may wait for other workers
  uint64_t history() const;   // history of every version below
  uint64_t version() const;   // of the parameters that came last; before that, at the join
  // Of the step after that version, with which a lookahead was made; 0 before the first reply.
  double next_learning_rate() const;
  uint64_t incarnation() const;  // this process among all that had the worker's name

 private:
  friend class Client;
  struct State;
  static absl::StatusOr<Session> Join(std::shared_ptr<Transport> transport,
                                      const ClientOptions& options, absl::string_view session_id,
                                      absl::string_view worker, const JoinOptions& join);
  explicit Session(std::unique_ptr<State> state);
  absl::Status Submit(absl::Span<const float> gradient, absl::Span<float> parameters,
                      absl::Span<const double> losses, const StepOptions& options);
  absl::Status Drive(absl::FunctionRef<bool()> reached);
  absl::StatusOr<StepResult> Settle();
  absl::Status Failed(const absl::Status& status);
  absl::Status JoinAnew();
  void Note(const absl::Status& status);

  std::unique_ptr<State> state_;
};

}  // namespace talweg
