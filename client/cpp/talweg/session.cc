// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/float_bytes.h"
#include "client/cpp/talweg/heartbeat.h"
#include "client/cpp/talweg/pull.h"
#include "client/cpp/talweg/retry.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

struct Session::State {
  std::shared_ptr<Transport> transport;
  ClientOptions options;
  std::string session_id;
  std::string worker;
  uint64_t history = 0;
  uint64_t incarnation = 0;
  uint64_t version = 0;
  bool left = false;
  bool unanswered = false;    // `request` may have been applied: ResumeStep may send it again
  absl::Status fenced;        // the error that fenced this worker, once there was one
  v1::StepRequest request;    // the last contribution; keeps its memory from step to step
  v1::StepResponse response;  // likewise
  std::unique_ptr<Heartbeat> heartbeat;
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

absl::StatusOr<Session> Session::Join(std::shared_ptr<Transport> transport,
                                      const ClientOptions& options, absl::string_view session_id,
                                      absl::string_view worker) {
  auto state = std::make_unique<State>();
  state->transport = std::move(transport);
  state->options = options;
  state->session_id = std::string(session_id);
  state->worker = std::string(worker);
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
  v1::JoinResponse response;
  const absl::Status status = Retry(
      state.options.retry, *state.transport,
      [&](absl::Duration timeout) { return state.transport->Call(request, response, timeout); });
  if (!status.ok()) return status;
  state.history = response.history();
  state.incarnation = response.incarnation();
  state.version = response.version();
  state.left = false;
  state.unanswered = false;

  v1::ContributionHeader& header = *state.request.mutable_header();
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
                                         absl::Span<const double> losses) {
  State& state = *state_;
  v1::ContributionHeader& header = *state.request.mutable_header();
  // Gaps are allowed, so every contribution has a number of its own, whatever became of the last.
  header.set_sequence(header.sequence() + 1);
  header.set_base_version(state.version);
  header.mutable_losses()->Assign(losses.begin(), losses.end());
  if (state.request.sections_size() == 0) {
    state.request.add_sections()->set_kind(v1::SECTION_KIND_GRADIENT);
  }
  AssignFloats(gradient, *state.request.mutable_sections(0)->mutable_data());
  return Send(parameters);
}

absl::StatusOr<StepResult> Session::ResumeStep(absl::Span<float> parameters) {
  if (!state_->unanswered) {
    return absl::FailedPreconditionError("no contribution waits for its answer");
  }
  return Send(parameters);
}

absl::StatusOr<StepResult> Session::Send(absl::Span<float> parameters) {
  State& state = *state_;
  state.request.mutable_reply()->set_data(parameters.empty() ? v1::REPLY_DATA_NONE
                                                             : v1::REPLY_DATA_PARAMETERS);
  state.request.mutable_reply()->set_max_reply_bytes(state.options.max_message_bytes);
  StepResult result;
  const v1::StepResponse& response = state.response;
  const absl::Status status = Retry(
      state.options.retry, *state.transport,
      [&](absl::Duration timeout) {
        return state.transport->Call(state.request, state.response, timeout);
      },
      &result.num_attempts);
  // An error with a reason is the server's word that nothing changed; any other may have come after
  // the step was taken.
  state.unanswered = !status.ok() && ReasonOf(status).empty();
  Note(status);
  if (!status.ok()) return status;

  if (!parameters.empty()) {
    if (response.sections_size() != 1 ||
        response.sections(0).kind() != v1::SECTION_KIND_PARAMETERS ||
        response.sections(0).data().size() != parameters.size() * sizeof(float)) {
      state.unanswered = true;
      return absl::InternalError(absl::StrCat("the server's reply to step ",
                                              response.applied_version(), " does not hold ",
                                              parameters.size(), " parameters"));
    }
    CopyFloats(response.sections(0).data(), parameters);
    state.version = response.data_version();
  }
  result.verdict = response.verdict();
  result.replayed = response.replayed();
  result.applied_version = response.applied_version();
  result.data_version = response.data_version();
  if (response.has_report()) result.report = response.report();
  return result;
}

absl::StatusOr<uint64_t> Session::Pull(absl::Span<float> parameters) {
  State& state = *state_;
  const absl::StatusOr<PulledVersion> pulled = PullParameters(
      *state.transport, state.options.retry, state.session_id, state.history, parameters);
  if (!pulled.ok()) return pulled.status();
  state.version = pulled->version;
  return state.version;
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
uint64_t Session::history() const { return state_->history; }
uint64_t Session::version() const { return state_->version; }
uint64_t Session::incarnation() const { return state_->incarnation; }

}  // namespace talweg
