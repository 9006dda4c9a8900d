// SPDX-License-Identifier: Apache-2.0
//
// Client::WatchSession: a stream of steps that goes on over broken connections.
#include <algorithm>
#include <string>

#include "absl/time/clock.h"
#include "client/cpp/talweg/client.h"

namespace talweg {

absl::Status Client::WatchSession(
    absl::string_view session_id, const WatchOptions& options,
    absl::FunctionRef<absl::Status(const v1::WatchSessionResponse& message)> take) const {
  v1::WatchSessionRequest request;  // what is still to come
  request.set_session_id(std::string(session_id));
  request.set_history(options.history);
  request.set_after_version(options.after_version);
  request.set_follow(options.follow);
  const auto look = [&] {
    const bool stop = options_.retry.stop && options_.retry.stop();
    return stop ? absl::CancelledError("stopped") : absl::OkStatus();
  };
  const auto idle = [&] {
    if (options.idle) options.idle();
    return look();
  };
  bool answered = false;  // in this attempt
  const auto take_message = [&](const v1::WatchSessionResponse& message) {
    answered = true;
    request.set_history(message.history());
    for (const v1::StepRecord& record : message.records()) {
      if (record.version() <= request.after_version()) {
        return absl::InternalError("the server told a step twice");
      }
      request.set_after_version(record.version());
    }
    const absl::Status taken = take(message);
    return taken.ok() ? look() : taken;
  };
  // A stream lives while its connection does, which pings watch.
  RetryOptions retry = options_.retry;
  retry.attempt_timeout = retry.overall_timeout;
  for (;;) {
    absl::Status broken;
    const absl::Status status = Retry(retry, *transport_, [&](absl::Duration timeout) {
      answered = false;
      const absl::Status attempt =
          transport_->Watch(v1::WatchSessionRequest(request), take_message, idle,
                            options.follow ? absl::InfiniteDuration() : timeout);
      // A server that answered has all the time again.
      broken = answered && IsRetryable(attempt) ? attempt : absl::OkStatus();
      return broken.ok() ? attempt : absl::OkStatus();
    });
    if (broken.ok()) {
      const absl::Status stopped = status.ok() ? status : look();
      return stopped.ok() ? status : stopped;
    }
    const absl::Status stopped = look();
    if (!stopped.ok()) return stopped;
    if (retry.retrying) retry.retrying(broken);
    if (absl::IsDeadlineExceeded(broken)) transport_->Reconnect();
    absl::SleepFor(std::max(retry.initial_backoff, RetryDelayOf(broken)));
  }
}

}  // namespace talweg
