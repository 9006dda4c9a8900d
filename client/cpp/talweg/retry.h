// SPDX-License-Identifier: Apache-2.0
//
// Retries: the same call again after a lost connection or a missed deadline, with exponential
// backoff and jitter, until an overall deadline.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

struct RetryOptions {
  // Of one attempt, > 0; of a stream: until something moves.
  absl::Duration attempt_timeout = absl::Seconds(30);
  // Of a call with all its retries, > 0; of a stream: since it came farther than ever before.
  absl::Duration overall_timeout = absl::Minutes(5);
  absl::Duration initial_backoff = absl::Milliseconds(50);  // before the second attempt
  absl::Duration max_backoff = absl::Seconds(2);            // doubled up to here
  // How long an answer that waits for other workers (a step of a synchronous or bounded session, a
  // pull that waits for a version) may take while the server is there; > 0. The two timeouts above
  // are then of a server that is not: pings tell.
  absl::Duration round_timeout = absl::InfiniteDuration();
  // Of one such attempt in one message, > 0: the same call is then made again, over the same
  // connection, and waits on. Against what lives and forgets, such as a relay on the way.
  absl::Duration round_attempt_timeout = absl::Seconds(60);
  // Asked before each retry, and ten times a second while an answer waits for other workers: true
  // means give up. Unset: go on.
  std::function<bool()> stop;
};

// The wait for an answer that other workers hold up, from when it is made. Refers to its options.
class RoundWait {
 public:
  explicit RoundWait(const RetryOptions& options)
      : options_(options), give_up_(absl::Now() + options.round_timeout) {}

  // Whether it has lasted `round_timeout`.
  bool over() const { return absl::Now() >= give_up_; }
  // CANCELLED where `stop` says so.
  absl::Status Look() const;
  // Of an attempt that begins now. One that lasted so long has met a server: pings would have ended
  // it sooner.
  absl::Duration attempt_timeout() const;
  // For Retry: no attempt is begun when the wait is over. Refers to this wait.
  RetryOptions retry() const;

 private:
  const RetryOptions& options_;
  const absl::Time give_up_;
};

// Whether the call may have been lost on the way, so that the same call again can help:
// UNAVAILABLE and DEADLINE_EXCEEDED, and CHUNK_CORRUPT.
bool IsRetryable(const absl::Status& status);

// Runs `attempt` until it succeeds, fails for good, or the overall timeout has passed, and returns
// its last status. A wait is drawn from the upper half of the backoff, and is at least what the
// server asks for. After a missed deadline the next attempt goes over a new connection. The number
// of attempts made goes to `*num_attempts` unless it is null. Where `*farthest` (unless null) grew
// in an attempt, backoff and overall timeout begin anew.
absl::Status Retry(const RetryOptions& options, Transport& transport,
                   absl::FunctionRef<absl::Status(absl::Duration timeout)> attempt,
                   int* num_attempts = nullptr, const uint64_t* farthest = nullptr);

}  // namespace talweg
