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
#include "talweg/v1/search_service.pb.h"
#include "talweg/v1/training_service.pb.h"

namespace talweg {

class Transport;
struct ClientOptions;

// What became of a contribution.
struct StepResult {
  v1::Verdict verdict = v1::VERDICT_UNSPECIFIED;
  bool replayed = false;  // the remembered answer of an attempt whose reply was lost
  // The version that was made; if the contribution is pending, the one that it will be part of;
  // otherwise the one at which it was judged.
  uint64_t applied_version = 0;
  // While it is pending: no version will have the contribution as a part. It is, for one, the
  // worker's second contribution to one round.
  bool will_not_count = false;
  uint64_t data_version = 0;  // version of the parameters that came back
  // How many workers contributed, which were late, learning rate, norms, loss. Set if the verdict
  // is APPLIED.
  std::optional<v1::StepReport> report;
  // If it was refused: where the gradient is not finite; how many rounds have closed since this
  // worker last had a part in one, or joined; and what to change, in words. Unset or empty if there
  // is nothing to say.
  std::optional<v1::GradientFault> fault;
  uint32_t missed_rounds = 0;
  std::string advice;
  double next_learning_rate = 0;  // of the coming step; a lookahead was computed with it
  // Parameters that are finite on the server and came as infinities, because `reply_dtype` does not
  // reach them; and the index of the first of them, if there is one.
  uint64_t num_overflowed = 0;
  uint64_t first_overflowed = 0;
  int num_attempts = 1;  // calls made and streams begun for this answer

  bool applied() const { return verdict == v1::VERDICT_APPLIED; }
  // Whether the contribution waits for others, or for slower workers. Pending acknowledges nothing.
  bool pending() const { return verdict == v1::VERDICT_PENDING; }
};

// Made by Client::Join(). A thread of the library's own sends heartbeats that keep the lease, over
// a connection of its own, from the join until Leave() or the destructor. It needs no call of the
// worker: a gradient may take many times as long as the lease (30 s by default), and a synchronous
// round waits for it (unless its policy says otherwise, as with close_seconds or progress_seconds).
// Only if the whole process stands still, or cannot reach the server, for the length of a lease
// does the worker expire; then it may go on with its next call.
//
// The library numbers the contributions: a call that is lost is retried under the same sequence, so
// no contribution is ever applied twice. A join that is lost is retried under the same nonce, so
// that no process is fenced by its own retry.
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

  // Contributes `gradient` ([num_elements], taken at version() unless `options` says another) and
  // waits for the step. The new point goes to `parameters` ([num_elements], and may not overlap the
  // gradient; if it is empty, none is sent and version() stays). `losses`: at most 16, the first at
  // the version of the gradient. A refused contribution is not an error: see the verdict.
  //
  // Large contributions (ClientOptions::stream_threshold_bytes) go over one stream that stays open
  // from step to step. They may take any time as long as bytes move.
  //
  // If replies_wait(), the answer comes when other workers have done their part, within
  // RetryOptions::round_timeout; or it is VERDICT_PENDING at once, if `options` says so.
  //
  // Fails with UNAVAILABLE or DEADLINE_EXCEEDED if no answer came in time, and with CANCELLED if
  // RetryOptions::stop ended a wait. The contribution may then have been applied, and ResumeStep()
  // finds out (the gradient is copied only in that case). Or fails with the server's error; then
  // nothing has changed. After an error the contents of `parameters` are unspecified: they may be
  // of any version, or of several.
  absl::StatusOr<StepResult> Step(absl::Span<const float> gradient, absl::Span<float> parameters,
                                  absl::Span<const double> losses = {},
                                  const StepOptions& options = {});

  // Sends statistics without a gradient, taken at version() or at the `base_version` of `options`.
  // They are part of the next version, whichever gradients make it; nobody waits, and version()
  // stays. The verdict is PENDING, or REJECTED_NON_FINITE. Fails as Step does. Joining takes
  // ROLE_STATISTICS, which is there by default in a session with layers.
  absl::StatusOr<StepResult> SendStatistics(const Statistics& statistics,
                                            const StepOptions& options = {});

  // Sends the last contribution again, under its own sequence and options, after a Step or
  // ResumeStep that got no answer or (with StepOptions::return_pending) a pending one.
  // FAILED_PRECONDITION if there is no such contribution. Waits for other workers unless
  // `return_pending`.
  absl::StatusOr<StepResult> ResumeStep(absl::Span<float> parameters, bool return_pending = false);

  // Step in two halves, for sessions with max_staleness > 0: while one contribution's parameters
  // come in, the next one's gradient goes out.
  //
  //   SubmitStep(g0, w);  SubmitStep(g1, w2);  AwaitStep() -> w;  SubmitStep(g2, w);  AwaitStep() …
  //
  // SubmitStep returns when the contribution has been sent whole and the one submitted before it,
  // if any, has its answer; a small contribution has its own answer then, too. At most two may wait
  // for their AwaitStep; the library uses both spans until then. Each contribution is based on
  // version(), which AwaitStep moves. Each is applied exactly once, as with Step: the second is
  // committed when the first is answered.
  //
  // After UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED, what was submitted still waits, and
  // AwaitStep goes on with it. After an error with the server's reason nothing waits.
  // INVALID_ARGUMENT for return_pending.
  absl::Status SubmitStep(absl::Span<const float> gradient, absl::Span<float> parameters,
                          absl::Span<const double> losses = {}, const StepOptions& options = {});

  // Waits for the answer to the oldest contribution that was submitted. FAILED_PRECONDITION if
  // there is none.
  absl::StatusOr<StepResult> AwaitStep();

  // --- Search, for a worker that joined with ROLE_SEARCH a session that searches.

  // Asks for at most `capacity` (>= 1) pairs to evaluate, and waits until there is something,
  // within RetryOptions::round_timeout. The answer is a lease, or that the search is finished. A
  // worker that holds a lease gets it again. perturbation.h draws what a lease names; its
  // parameters are those of `version`: PullOptions::version brings them, or a replay.
  absl::StatusOr<v1::AskResponse> Ask(uint32_t capacity);
  // Tells losses: `request` says generation, pairs and losses, and the rest is filled in here. A
  // call that was lost is made again: the first loss of a pair counts.
  absl::StatusOr<v1::TellResponse> Tell(v1::TellRequest request);
  // The losses of all that `lease` names, as TellRequest::losses has them. With a `capacity` the
  // answer may have the next lease, which saves an Ask.
  absl::StatusOr<v1::TellResponse> Tell(const v1::EvaluationLease& lease,
                                        absl::Span<const float> losses, uint64_t num_examples = 0,
                                        uint32_t capacity = 0);
  // The same in double precision: for a small sigma, whose losses differ in their last digits.
  absl::StatusOr<v1::TellResponse> Tell(const v1::EvaluationLease& lease,
                                        absl::Span<const double> losses, uint64_t num_examples = 0,
                                        uint32_t capacity = 0);

  // Fills `parameters` ([num_elements]) with the current version and returns its number, which
  // version() returns from then on, unless the point is the average. A large pull goes on where a
  // broken stream ended.
  absl::StatusOr<uint64_t> Pull(absl::Span<float> parameters, const PullOptions& options = {});

  // Joins anew after HISTORY_CHANGED and returns the version to go on from: pull before the next
  // step. Refused with INCARNATION_FENCED once this worker was fenced.
  absl::StatusOr<uint64_t> Reattach();

  // Takes the worker out of the session and stops the heartbeats. A second Leave does nothing.
  absl::Status Leave();

  const std::string& session_id() const;
  const std::string& worker() const;
  bool replies_wait() const;  // whether a step may wait for other workers
  uint64_t history() const;   // the history that every version below belongs to
  uint64_t version() const;   // of the parameters that came last; before any came, of the join
  // The rate of the step after that version, with which a lookahead was computed; 0 before the
  // first reply.
  double next_learning_rate() const;
  // How many of the parameters that came last, by a step or a pull, are finite on the server and
  // came as infinities, because the dtype that was asked for does not reach them.
  uint64_t num_overflowed() const;
  uint64_t incarnation() const;  // this process among all that had the worker's name

 private:
  friend class Client;
  struct State;
  static absl::StatusOr<Session> Join(std::shared_ptr<Transport> transport,
                                      const ClientOptions& options, absl::string_view session_id,
                                      absl::string_view worker, const JoinOptions& join);
  explicit Session(std::unique_ptr<State> state);
  absl::Status Submit(absl::Span<const float> gradient, absl::Span<float> parameters,
                      absl::Span<const double> losses, const StepOptions& options,
                      bool has_statistics_alone = false);
  absl::StatusOr<StepResult> Run(absl::Span<const float> gradient, absl::Span<float> parameters,
                                 absl::Span<const double> losses, const StepOptions& options,
                                 bool has_statistics_alone);
  absl::Status Drive(absl::FunctionRef<bool()> reached);
  absl::StatusOr<StepResult> Settle();
  absl::Status Failed(const absl::Status& status);
  absl::Status JoinAnew();
  void Note(const absl::Status& status);

  std::unique_ptr<State> state_;
};

}  // namespace talweg
