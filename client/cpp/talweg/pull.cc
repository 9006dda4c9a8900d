// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/pull.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/float_bytes.h"
#include "client/cpp/talweg/status.h"

namespace talweg {
namespace {

// Checks that `message` goes on where `request` is, and copies it.
absl::Status TakeMessage(const v1::PullResponse& message, v1::PullRequest& request,
                         absl::Span<float> parameters) {
  if (message.num_elements() != parameters.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the session has ", message.num_elements(),
                                                   " elements, the buffer ", parameters.size()));
  }
  if (request.has_version() &&
      (message.version() != request.version() || message.history() != request.history())) {
    return absl::InternalError("the server mixed versions in one pull");
  }
  request.set_history(message.history());
  request.set_version(message.version());
  const std::string& data = message.section().data();
  const uint64_t begin = message.section().begin_element();
  const uint64_t size = data.size() / sizeof(float);
  if (begin != request.begin_element() || data.size() % sizeof(float) != 0 ||
      size > parameters.size() - begin) {
    return absl::InternalError("the server left a gap in a pull");
  }
  CopyFloats(data, parameters.subspan(begin, size));
  request.set_begin_element(begin + size);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PulledVersion> PullParameters(Transport& transport, const RetryOptions& retry,
                                             absl::string_view session_id, uint64_t history,
                                             absl::Span<float> parameters) {
  v1::PullRequest request;  // what is still missing
  request.set_session_id(std::string(session_id));
  request.set_history(history);
  // A stream may well take longer than a call: it lives while its connection does, which pings
  // watch.
  RetryOptions stream_retry = retry;
  stream_retry.attempt_timeout = retry.overall_timeout;
  const auto attempt_pull = [&](absl::Duration timeout) -> absl::Status {
    const absl::Status attempt = transport.Pull(
        v1::PullRequest(request),
        [&](const v1::PullResponse& message) { return TakeMessage(message, request, parameters); },
        timeout);
    if (ReasonOf(attempt) == "VERSION_GONE") {
      request.clear_version();
      request.set_begin_element(0);
      return absl::UnavailableError(attempt.message());  // starts over
    }
    const bool complete = request.has_version() && request.begin_element() == parameters.size();
    if (complete && IsRetryable(attempt)) return absl::OkStatus();
    if (!complete && attempt.ok()) return absl::UnavailableError("the pull ended early");
    return attempt;
  };
  const absl::Status status = Retry(stream_retry, transport, attempt_pull);
  if (!status.ok()) return status;
  return PulledVersion{request.history(), request.version()};
}

}  // namespace talweg
