// SPDX-License-Identifier: Apache-2.0
//
// The calls of a worker that searches, and the stream of closed generations.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/follow.h"
#include "client/cpp/talweg/session_state.h"

namespace talweg {
namespace {

// A tell of all pairs of the lease, still without losses.
v1::TellRequest TellAllOf(const v1::EvaluationLease& lease, uint64_t num_examples,
                          uint32_t capacity) {
  v1::TellRequest request;
  request.set_generation(lease.generation());
  request.set_lease(lease.lease());
  request.set_first_pair(lease.first_pair());
  request.set_evaluate(lease.evaluate());
  request.set_num_examples(num_examples);
  request.set_capacity(capacity);
  return request;
}

// Makes a call that may wait for other workers or for a step, again and again until it is answered.
// `what` the wait was for, if it takes too long.
template <class Request, class Response>
absl::Status WaitFor(Transport& transport, const RetryOptions& retry, const Request& request,
                     Response& response, absl::string_view what) {
  const RoundWait wait(retry);
  uint64_t num_waits = 0;  // that met the server
  absl::Status status = Retry(
      wait.retry(), transport,
      [&](absl::Duration) {
        for (;;) {
          absl::Status waited = transport.Wait(
              request, response, [&] { return wait.Look(); }, wait.attempt_timeout());
          if (!absl::IsDeadlineExceeded(waited) || wait.over()) return waited;
          ++num_waits;
        }
      },
      nullptr, &num_waits);
  return wait.Explain(std::move(status), what);
}

}  // namespace

absl::StatusOr<v1::AskResponse> Session::Ask(uint32_t capacity) {
  State& state = *state_;
  v1::AskRequest request;
  request.set_session_id(state.session_id);
  request.set_history(state.history);
  request.set_worker(state.worker);
  request.set_incarnation(state.incarnation);
  request.set_capacity(capacity);
  v1::AskResponse response;
  const absl::Status status = WaitFor(*state.transport, state.options.retry, request, response,
                                      "there is nothing to evaluate");
  Note(status);
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<v1::TellResponse> Session::Tell(v1::TellRequest request) {
  State& state = *state_;
  request.set_session_id(state.session_id);
  request.set_history(state.history);
  request.set_worker(state.worker);
  request.set_incarnation(state.incarnation);
  v1::TellResponse response;
  const absl::Status status = WaitFor(*state.transport, state.options.retry, request, response,
                                      "the step that the losses made is not done");
  Note(status);
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<v1::TellResponse> Session::Tell(const v1::EvaluationLease& lease,
                                               absl::Span<const float> losses,
                                               uint64_t num_examples, uint32_t capacity) {
  v1::TellRequest request = TellAllOf(lease, num_examples, capacity);
  request.mutable_losses()->Assign(losses.begin(), losses.end());
  return Tell(std::move(request));
}

absl::StatusOr<v1::TellResponse> Session::Tell(const v1::EvaluationLease& lease,
                                               absl::Span<const double> losses,
                                               uint64_t num_examples, uint32_t capacity) {
  v1::TellRequest request = TellAllOf(lease, num_examples, capacity);
  request.mutable_double_losses()->Assign(losses.begin(), losses.end());
  return Tell(std::move(request));
}

absl::Status Client::WatchGenerations(
    absl::string_view session_id, const WatchOptions& options,
    absl::FunctionRef<absl::Status(const v1::WatchGenerationsResponse& message)> take) const {
  v1::WatchGenerationsRequest request;  // what is still to come
  request.set_session_id(std::string(session_id));
  request.set_history(options.history);
  request.set_after_version(options.after_version);
  request.set_follow(options.follow);
  return Follow(
      *transport_, options_.retry, options,
      [&](Transport::Idle idle, absl::Duration timeout, const auto& take_message) {
        return transport_->WatchGenerations(v1::WatchGenerationsRequest(request), take_message,
                                            idle, timeout);
      },
      [&](const v1::WatchGenerationsResponse& message) -> absl::Status {
        request.set_history(message.history());
        if (message.has_record()) {
          if (message.record().version() != request.after_version() + 1 &&
              request.after_version() != 0) {
            return absl::InternalError(absl::StrCat("the server left out the generation behind ",
                                                    "version ", request.after_version()));
          }
          request.set_after_version(message.record().version());
        }
        return take(message);
      });
}

}  // namespace talweg
