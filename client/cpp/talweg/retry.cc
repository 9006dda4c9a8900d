// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/retry.h"

#include <algorithm>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/talweg/status.h"
#include "client/cpp/talweg/told.h"

namespace talweg {

absl::Status RoundWait::Look() const {
  const bool stop = options_.stop && options_.stop();
  return stop ? absl::CancelledError("stopped") : absl::OkStatus();
}

absl::Duration RoundWait::attempt_timeout() const {
  return std::min(std::max(options_.attempt_timeout, options_.round_attempt_timeout),
                  std::max(give_up_ - absl::Now(), absl::ZeroDuration()));
}

absl::Status RoundWait::Explain(absl::Status status, absl::string_view what) const {
  if (!absl::IsDeadlineExceeded(status) || !over()) return status;
  return absl::DeadlineExceededError(
      absl::StrCat("after ", DurationText(options_.round_timeout), " ", what));
}

RetryOptions RoundWait::retry() const {
  RetryOptions options = options_;
  options.stop = [this] { return over() || !Look().ok(); };
  return options;
}

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         ReasonOf(status) == "CHUNK_CORRUPT";
}

absl::Status Retry(const RetryOptions& options, Transport& transport,
                   absl::FunctionRef<absl::Status(absl::Duration timeout)> attempt,
                   int* num_attempts, const uint64_t* farthest) {
  absl::Time deadline = absl::Now() + options.overall_timeout;
  absl::Duration backoff = options.initial_backoff;
  absl::Duration timeout = std::min(options.attempt_timeout, options.overall_timeout);
  absl::BitGen random;
  for (int made = 1;; ++made) {
    if (num_attempts != nullptr) *num_attempts = made;
    const uint64_t before = farthest != nullptr ? *farthest : 0;
    const absl::Status status = attempt(timeout);
    if (!IsRetryable(status)) return status;
    if (absl::IsDeadlineExceeded(status)) transport.Reconnect();
    if (farthest != nullptr && *farthest > before) {
      deadline = absl::Now() + options.overall_timeout;
      backoff = options.initial_backoff;
    }
    const absl::Duration drawn = backoff * absl::Uniform(random, 0.5, 1.0);
    const absl::Duration asked = RetryDelayOf(status);
    const absl::Duration wait = std::max(drawn, asked);
    timeout = std::min(options.attempt_timeout, deadline - absl::Now() - wait);
    if (timeout <= absl::ZeroDuration()) return status;
    if (options.stop && options.stop()) return status;
    if (options.retrying) options.retrying(status);
    // A connection that breaks as soon as it stands must not be dialled without a pause.
    const absl::Time earliest =
        absl::Now() + std::max(asked, std::min(drawn, options.initial_backoff));
    transport.Rest(wait);
    absl::SleepFor(earliest - absl::Now());
    backoff = std::min(backoff * 2, options.max_backoff);
  }
}

}  // namespace talweg
