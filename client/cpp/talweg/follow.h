// SPDX-License-Identifier: Apache-2.0
//
// A stream of messages that goes on over broken connections: what WatchSession and WatchGenerations
// have in common. Not installed for users.
#pragma once

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/client.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

// Makes attempts, each by attempt(idle, timeout, take_message), until one ends for good. `take` is
// handed each message, and notes what is still to come; its error ends the stream. A server that
// has answered has all the time again. `options` says what is watched, `retry` what a retry may
// take.
template <class Attempt, class Take>
absl::Status Follow(Transport& transport, const RetryOptions& options_of_retry,
                    const WatchOptions& options, const Attempt& attempt, const Take& take) {
  const auto look = [&] {
    const bool stop = options_of_retry.stop && options_of_retry.stop();
    return stop ? absl::CancelledError("stopped") : absl::OkStatus();
  };
  const auto idle = [&] {
    if (options.idle) options.idle();
    return look();
  };
  bool answered = false;  // in this attempt
  const auto take_message = [&](const auto& message) {
    answered = true;
    const absl::Status taken = take(message);
    return taken.ok() ? look() : taken;
  };
  // A stream lives while its connection does, which pings watch.
  RetryOptions retry = options_of_retry;
  retry.attempt_timeout = retry.overall_timeout;
  for (;;) {
    absl::Status broken;
    const absl::Status status = Retry(retry, transport, [&](absl::Duration timeout) {
      answered = false;
      const absl::Status ended =
          attempt(idle, options.follow ? absl::InfiniteDuration() : timeout, take_message);
      broken = answered && IsRetryable(ended) ? ended : absl::OkStatus();
      return broken.ok() ? ended : absl::OkStatus();
    });
    const absl::Status stopped = look();
    if (broken.ok()) return status.ok() || stopped.ok() ? status : stopped;
    if (!stopped.ok()) return stopped;
    if (retry.retrying) retry.retrying(broken);
    if (absl::IsDeadlineExceeded(broken)) transport.Reconnect();
    absl::SleepFor(std::max(retry.initial_backoff, RetryDelayOf(broken)));
  }
}

}  // namespace talweg
