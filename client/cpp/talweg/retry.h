// SPDX-License-Identifier: Apache-2.0
//
// Retries: the same call again after a lost connection or a missed deadline, with exponential
// backoff and jitter, until an overall deadline.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/talweg/transport.h"

namespace talweg {

struct RetryOptions {
  // Of one attempt, > 0. For a stream: how long nothing may move.
  absl::Duration attempt_timeout = absl::Seconds(30);
  // Of a call with all its retries, > 0. For a stream: counted from when it last came farther than
  // ever before.
  absl::Duration overall_timeout = absl::Minutes(5);
  absl::Duration initial_backoff = absl::Milliseconds(50);  // before the second attempt
  absl::Duration max_backoff = absl::Seconds(2);            // the backoff is doubled up to this
  // How long an answer that waits for other workers (a step of a synchronous or bounded session, a
  // pull that waits for a version) may take while the server is there; > 0. For such an answer the
  // two timeouts above count only while the server is not there, which pings tell.
  absl::Duration round_timeout = absl::InfiniteDuration();
  // How long one such attempt in one message may take, > 0. Then the same call is made again over
  // the same connection, and waits on. This helps against a relay on the way that has forgotten the
  // call.
  absl::Duration round_attempt_timeout = absl::Seconds(60);
  // Told why, before each retry: the server is not there, or did not answer. Unset: nothing is
  // told.
  std::function<void(const absl::Status& why)> retrying = {};
  // Asked before each retry, and ten times a second while an answer waits for other workers. True
  // means: give up. Unset: go on.
  std::function<bool()> stop;
};

// The wait for an answer that other workers hold up. It begins when the object is made. Refers to
// its options.
class RoundWait {
 public:
  explicit RoundWait(const RetryOptions& options)
      : options_(options), give_up_(absl::Now() + options.round_timeout) {}

  // Whether the wait has lasted `round_timeout`.
  bool over() const { return absl::Now() >= give_up_; }
  // CANCELLED if `stop` says so.
  absl::Status Look() const;
  // How long an attempt that begins now may take. An attempt that lasted that long has met a
  // server: pings would have ended it sooner.
  absl::Duration attempt_timeout() const;
  // What ended the wait, for a person: `what` ("the version is not made") if its time ran out, and
  // any other status as it is.
  absl::Status Explain(absl::Status status, absl::string_view what) const;
  // Options for Retry, with which no attempt begins once the wait is over. Refer to this wait.
  RetryOptions retry() const;

 private:
  const RetryOptions& options_;
  const absl::Time give_up_;
};

// Whether the call may have been lost on the way, so that making it again can help: UNAVAILABLE,
// DEADLINE_EXCEEDED and CHUNK_CORRUPT.
bool IsRetryable(const absl::Status& status);

// Runs `attempt` until it succeeds, fails for good, or the overall timeout has passed, and returns
// the last status. The wait before a retry is drawn from the upper half of the backoff. It ends
// early when a connection that was lost stands again, but never before the first backoff, nor
// sooner than the server asks for. After a missed deadline the next attempt goes over a new
// connection. The number of attempts goes to `*num_attempts`, unless that is null. If `*farthest`
// (unless null) grew in an attempt, backoff and overall timeout begin anew.
absl::Status Retry(const RetryOptions& options, Transport& transport,
                   absl::FunctionRef<absl::Status(absl::Duration timeout)> attempt,
                   int* num_attempts = nullptr, const uint64_t* farthest = nullptr);

}  // namespace talweg
