// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/session.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/pull.h"
#include "client/cpp/talweg/random_id.h"
#include "client/cpp/talweg/session_state.h"

namespace talweg {

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::StatusOr<Session> Session::Join(std::shared_ptr<Transport> transport,
                                      const ClientOptions& options, absl::string_view session_id,
                                      absl::string_view worker, const JoinOptions& join) {
  auto state = std::make_unique<State>();
  state->transport = std::move(transport);
  state->options = options;
  state->session_id = std::string(session_id);
  state->worker = std::string(worker);
  state->join = join;
  Session session(std::move(state));
  const absl::Status joined = session.JoinAnew();
  if (!joined.ok()) return joined;
  return session;
}

absl::Status Session::JoinAnew() {
  State& state = *state_;
  state.heartbeat.reset();
  v1::JoinRequest request;
  request.set_session_id(state.session_id);
  request.set_worker(state.worker);
  request.mutable_roles()->Assign(state.join.roles.begin(), state.join.roles.end());
  request.set_nonce(RandomId());  // the same in all attempts
  v1::JoinResponse response;
  const absl::Status status = Retry(
      state.options.retry, *state.transport,
      [&](absl::Duration timeout) { return state.transport->Call(request, response, timeout); });
  if (!status.ok()) return status;
  state.history = response.history();
  state.incarnation = response.incarnation();
  state.version = response.version();
  state.replies_wait = response.replies_wait();
  state.left = false;
  state.sequence = 0;
  state.Forget();
  state.stream =
      std::make_unique<ContributionStream>(*state.transport, state.options.retry.overall_timeout);

  v1::ContributionHeader& header = state.header;
  header.Clear();
  header.set_session_id(state.session_id);
  header.set_history(state.history);
  header.set_worker(state.worker);
  header.set_incarnation(state.incarnation);

  if (state.options.heartbeats) {
    v1::HeartbeatRequest beat;
    beat.set_session_id(state.session_id);
    beat.set_history(state.history);
    beat.set_worker(state.worker);
    beat.set_incarnation(state.incarnation);
    state.heartbeat =
        std::make_unique<Heartbeat>(state.transport->Clone(), beat,
                                    absl::Seconds(static_cast<int64_t>(response.lease_seconds())));
  }
  return absl::OkStatus();
}

absl::StatusOr<StepResult> Session::Step(absl::Span<const float> gradient,
                                         absl::Span<float> parameters,
                                         absl::Span<const double> losses,
                                         const StepOptions& options) {
  return Run(gradient, parameters, losses, options, /*has_statistics_alone=*/false);
}

absl::StatusOr<StepResult> Session::SendStatistics(const Statistics& statistics,
                                                   const StepOptions& options) {
  StepOptions alone = options;
  alone.statistics = &statistics;
  return Run({}, {}, {}, alone, /*has_statistics_alone=*/true);
}

// Contributes and waits for the answer.
absl::StatusOr<StepResult> Session::Run(absl::Span<const float> gradient,
                                        absl::Span<float> parameters,
                                        absl::Span<const double> losses, const StepOptions& options,
                                        bool has_statistics_alone) {
  State& state = *state_;
  // One that got no answer is given up; its sequence is never used again.
  if (state.resumable) state.Forget();
  if (!state.waiting.empty()) {
    return absl::FailedPreconditionError("a submitted contribution waits for AwaitStep");
  }
  const absl::Status submitted =
      Submit(gradient, parameters, losses, options, has_statistics_alone);
  if (!submitted.ok()) return submitted;
  absl::StatusOr<StepResult> result = Settle();
  if (!state.waiting.empty()) {
    Waiting& waiting = state.waiting.front();
    waiting.kept.assign(gradient.begin(), gradient.end());
    waiting.contribution.gradient = waiting.kept;
    waiting.kept_statistics = waiting.contribution.statistics.Copy();
    waiting.contribution.statistics = waiting.contribution.statistics.Of(waiting.kept_statistics);
    state.resumable = true;
  }
  return result;
}

absl::StatusOr<StepResult> Session::ResumeStep(absl::Span<float> parameters, bool return_pending) {
  State& state = *state_;
  if (!state.resumable) {
    return absl::FailedPreconditionError("no contribution waits for its answer");
  }
  Waiting& waiting = state.waiting.front();
  Contribution& contribution = waiting.contribution;
  const bool was_pending =
      contribution.answer.has_value() && contribution.answer->verdict() == v1::VERDICT_PENDING;
  state.perhaps_judged = true;
  if (was_pending) {
    contribution.answer.reset();
    contribution.opened = contribution.committed = false;
    waiting.num_attempts = 0;
  }
  contribution.options.return_pending = return_pending;
  state.Aim(contribution, parameters);
  absl::StatusOr<StepResult> result = Settle();
  state.resumable = !state.waiting.empty();
  return result;
}

absl::Status Session::SubmitStep(absl::Span<const float> gradient, absl::Span<float> parameters,
                                 absl::Span<const double> losses, const StepOptions& options) {
  State& state = *state_;
  if (options.return_pending) {
    return absl::InvalidArgumentError("return_pending is for Step and ResumeStep");
  }
  if (state.resumable) state.Forget();
  if (state.waiting.size() == 2) {
    return absl::FailedPreconditionError("two contributions wait for AwaitStep");
  }
  const absl::Status submitted = Submit(gradient, parameters, losses, options);
  if (!submitted.ok()) return submitted;
  const Contribution& last = state.waiting.back().contribution;
  return Drive([&] { return last.committed || last.answer.has_value(); });
}

absl::StatusOr<StepResult> Session::AwaitStep() {
  State& state = *state_;
  if (state.waiting.empty() || state.resumable) {
    return absl::FailedPreconditionError("no contribution was submitted");
  }
  return Settle();
}

// Puts a contribution at the end of those that wait.
absl::Status Session::Submit(absl::Span<const float> gradient, absl::Span<float> parameters,
                             absl::Span<const double> losses, const StepOptions& options,
                             bool has_statistics_alone) {
  State& state = *state_;
  if (options.point != v1::POINT_PARAMETERS && options.point != v1::POINT_LOOKAHEAD) {
    return absl::InvalidArgumentError("a step brings back POINT_PARAMETERS or POINT_LOOKAHEAD");
  }
  if (options.abstain && (!gradient.empty() || !losses.empty() || options.weight.has_value())) {
    return absl::InvalidArgumentError(
        "a worker that abstains has no gradient, no losses and no weight");
  }
  if (state.waiting.empty()) state.perhaps_judged = false;
  Waiting& waiting = state.waiting.emplace_back();
  waiting.asks_again = options.return_pending;
  Contribution& contribution = waiting.contribution;
  contribution.options = options;
  contribution.gradient = gradient;
  if (options.statistics != nullptr)
    contribution.statistics = StatisticsVector(*options.statistics);
  v1::ContributionHeader& header = *contribution.header.mutable_header();
  header = state.header;
  // Gaps are allowed, so every contribution has a number of its own, whatever became of the last.
  header.set_sequence(++state.sequence);
  header.set_base_version(options.base_version.value_or(state.version));
  header.mutable_losses()->Assign(losses.begin(), losses.end());
  if (options.weight.has_value()) header.set_weight(*options.weight);
  header.set_closes_round(options.closes_round);
  header.set_abstain(options.abstain);
  if (options.loss_change.has_value()) *header.mutable_loss_change() = *options.loss_change;
  if (options.statistics != nullptr) {
    *header.mutable_statistics() = ToProto(*options.statistics, has_statistics_alone);
  }
  state.Aim(contribution, parameters);
  return absl::OkStatus();
}

// Brings what waits as far as `reached` says, through lost calls and broken streams.
absl::Status Session::Drive(absl::FunctionRef<bool()> reached) {
  State& state = *state_;
  const RoundWait wait(state.options.retry);
  uint64_t farthest_bytes = 0;
  uint64_t num_waits = 0;  // that met the server
  uint64_t progress = 0;   // grows with both
  // A server that has no memory for a repeat has not looked at what it repeats.
  const auto unsure = [&](absl::Status status) -> absl::Status {
    if (IsRetryable(status)) state.perhaps_judged = true;
    if (!state.perhaps_judged || ReasonOf(status) != "MEMORY_QUOTA") return status;
    return absl::UnavailableError(absl::StrCat("asked again: ", status.message()));
  };
  const auto attempt = [&](absl::Duration timeout) -> absl::Status {
    std::vector<Contribution*> streamed;
    const auto run = [&](absl::FunctionRef<bool()> far_enough) -> absl::Status {
      if (streamed.empty() || far_enough()) return absl::OkStatus();
      absl::Status ran = state.stream->Run(streamed, timeout, wait, far_enough);
      for (const Contribution* contribution : streamed) {
        farthest_bytes = std::max(farthest_bytes, contribution->farthest_bytes);
        num_waits = std::max(num_waits, contribution->num_waits);
      }
      progress = farthest_bytes + num_waits;
      return unsure(std::move(ran));
    };
    for (Waiting& waiting : state.waiting) {
      Contribution& contribution = waiting.contribution;
      if (contribution.answer.has_value()) continue;
      if (state.NeedsStream(contribution)) {
        if (!contribution.opened) ++waiting.num_attempts;
        streamed.push_back(&contribution);
        continue;
      }
      // In the order of their sequences.
      absl::Status done = run([&] { return streamed.back()->answer.has_value(); });
      if (!done.ok()) return done;
      for (;;) {
        ++waiting.num_attempts;
        done = unsure(state.CallStep(contribution, timeout, wait));
        if (!contribution.waits || !absl::IsDeadlineExceeded(done) || wait.over()) break;
        progress = farthest_bytes + ++num_waits;
      }
      if (!done.ok()) return done;
    }
    return run(reached);
  };
  const bool waits = std::any_of(state.waiting.begin(), state.waiting.end(),
                                 [](const Waiting& one) { return one.contribution.waits; });
  absl::Status status = Retry(waits ? wait.retry() : state.options.retry, *state.transport, attempt,
                              nullptr, &progress);
  if (waits)
    status = wait.Explain(std::move(status),
                          "the version is not made: the session waits for other workers");
  return Failed(status);
}

// Notes what `status` says of this worker and of what waits, and hands it back.
absl::Status Session::Failed(const absl::Status& status) {
  Note(status);
  // An error with a reason is the server's word that nothing changed, one of the arguments is ours;
  // any other may have come after the step was taken.
  const bool nothing_changed = !ReasonOf(status).empty() || absl::IsInvalidArgument(status);
  if (nothing_changed && !IsRetryable(status)) state_->Forget();
  return status;
}

// Drives the oldest contribution to its answer and hands it out.
absl::StatusOr<StepResult> Session::Settle() {
  State& state = *state_;
  Contribution& contribution = state.waiting.front().contribution;
  absl::Status status = Drive([&] { return contribution.answer.has_value(); });
  if (!status.ok()) return status;
  const v1::StepResponse& answer = *contribution.answer;
  StepResult result;
  result.verdict = answer.verdict();
  result.replayed = answer.replayed();
  result.will_not_count = answer.will_not_count();
  if (answer.has_fault()) result.fault = answer.fault();
  result.missed_rounds = answer.missed_rounds();
  result.advice = answer.advice();
  result.applied_version = answer.applied_version();
  result.data_version = answer.data_version();
  result.next_learning_rate = answer.next_learning_rate();
  if (answer.has_report()) result.report = answer.report();
  result.num_overflowed = answer.num_overflowed();
  result.first_overflowed = answer.first_overflowed();
  result.num_attempts = state.waiting.front().num_attempts;
  status = state.Mend(contribution, result);
  if (!status.ok()) {
    Note(status);
    // The step has been judged all the same, whatever this error's reason: its answer stays, and
    // ResumeStep or AwaitStep tries again.
    return absl::UnavailableError(
        absl::StrCat("step ", result.applied_version,
                     " was answered, but its data could not be read: ", status.message()));
  }
  if (!contribution.parameters.empty()) {
    state.version = result.data_version;
    state.num_overflowed = result.num_overflowed;
  }
  state.next_learning_rate = result.next_learning_rate;
  if (!result.pending() || !state.waiting.front().asks_again) state.waiting.pop_front();
  return result;
}

absl::StatusOr<uint64_t> Session::Pull(absl::Span<float> parameters, const PullOptions& options) {
  State& state = *state_;
  const absl::StatusOr<PulledVersion> pulled = PullParameters(
      *state.transport, state.options.retry, state.session_id, state.history, parameters, options);
  if (!pulled.ok()) return pulled.status();
  state.next_learning_rate = pulled->next_learning_rate;
  state.num_overflowed = pulled->num_overflowed;
  if (options.point != v1::POINT_AVERAGE) state.version = pulled->version;
  return pulled->version;
}

absl::StatusOr<uint64_t> Session::Reattach() {
  if (state_->heartbeat != nullptr) Note(state_->heartbeat->ended());
  if (!state_->fenced.ok()) return state_->fenced;
  const absl::Status joined = JoinAnew();
  if (!joined.ok()) return joined;
  return state_->version;
}

absl::Status Session::Leave() {
  State& state = *state_;
  state.heartbeat.reset();
  state.Forget();
  state.stream->Close();
  if (state.left) return absl::OkStatus();
  v1::LeaveRequest request;
  request.set_session_id(state.session_id);
  request.set_history(state.history);
  request.set_worker(state.worker);
  request.set_incarnation(state.incarnation);
  v1::LeaveResponse response;
  int num_attempts = 0;
  absl::Status status = Retry(
      state.options.retry, *state.transport,
      [&](absl::Duration timeout) { return state.transport->Call(request, response, timeout); },
      &num_attempts);
  Note(status);
  // An attempt whose reply was lost had worked.
  if (num_attempts > 1 && ReasonOf(status) == "WORKER_NOT_JOINED") status = absl::OkStatus();
  state.left = status.ok();
  return status;
}

void Session::Note(const absl::Status& status) {
  if (ReasonOf(status) == "INCARNATION_FENCED") state_->fenced = status;
}

const std::string& Session::session_id() const { return state_->session_id; }
const std::string& Session::worker() const { return state_->worker; }
bool Session::replies_wait() const { return state_->replies_wait; }
uint64_t Session::history() const { return state_->history; }
uint64_t Session::version() const { return state_->version; }
double Session::next_learning_rate() const { return state_->next_learning_rate; }

uint64_t Session::num_overflowed() const { return state_->num_overflowed; }
uint64_t Session::incarnation() const { return state_->incarnation; }

}  // namespace talweg
