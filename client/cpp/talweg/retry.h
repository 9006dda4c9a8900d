// SPDX-License-Identifier: Apache-2.0
//
// Retries: the same call again after a lost connection or a missed deadline, with exponential
// backoff and jitter, until an overall deadline.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
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
  // Asked before each retry: true means make none. Unset: go on.
  std::function<bool()> stop;
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
