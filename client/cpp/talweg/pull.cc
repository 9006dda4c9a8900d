// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/pull.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cpp/talweg/dtype.h"
#include "client/cpp/talweg/status.h"
#include "core/base/checksum.h"
#include "core/base/dtype.h"

namespace talweg {
namespace {

// A pull through all its attempts.
class Puller {
 public:
  Puller(absl::string_view session_id, uint64_t history, absl::Span<float> parameters,
         const PullOptions& options, const RoundWait& wait)
      : parameters_(parameters), options_(options), wait_(wait) {
    request_.set_session_id(std::string(session_id));
    request_.set_history(history);
    request_.set_point(options.point);
    request_.set_dtype(options.dtype);
    request_.set_checksums(options.checksums);
    BeginAtVersion();
  }

  void GoOnFrom(const PullStart& start) {
    GoOnAt(start.version);
    request_.set_begin_element(start.begin_element);
    next_learning_rate_ = start.next_learning_rate;
  }

  absl::Status Attempt(Transport& transport, absl::Duration timeout) {
    const absl::Status attempt = Call(transport, timeout);
    if (ReasonOf(attempt) == "VERSION_GONE" && !options_.version.has_value()) {
      return StartOver(attempt.message());
    }
    const bool complete = request_.has_version() && request_.begin_element() == parameters_.size();
    if (complete && IsRetryable(attempt)) return absl::OkStatus();
    if (!complete && attempt.ok()) return absl::UnavailableError("the pull ended early");
    return attempt;
  }

  PulledVersion pulled() const {
    return {request_.history(), request_.version(), next_learning_rate_.value_or(0),
            overflow_.count, overflow_.first};
  }
  // Grows with every element that is there for the first time, and with every wait.
  const uint64_t& progress() const { return progress_; }

 private:
  absl::Status Call(Transport& transport, absl::Duration timeout) {
    for (;;) {
      const bool waits = request_.min_version() > 0;
      const absl::Status attempt = transport.Pull(
          v1::PullRequest(request_), [&](const v1::PullResponse& message) { return Take(message); },
          [&] { return waits ? wait_.Look() : absl::OkStatus(); },
          waits ? wait_.attempt_timeout() : timeout);
      // Nothing came, and pings say that the server is there.
      const bool silent = absl::IsDeadlineExceeded(attempt) && request_.min_version() > 0;
      if (!silent || wait_.over()) return attempt;
      ++progress_;
    }
  }

  void BeginAtVersion() {
    request_.clear_version();
    request_.clear_min_version();
    if (options_.version.has_value()) {
      request_.set_version(*options_.version);
    } else {
      request_.set_min_version(options_.min_version);
    }
  }

  void GoOnAt(uint64_t version) {
    request_.set_version(version);
    request_.clear_min_version();
  }

  absl::Status StartOver(absl::string_view why) {
    BeginAtVersion();
    request_.set_begin_element(0);
    next_learning_rate_.reset();
    overflow_ = {};
    return absl::UnavailableError(why);
  }

  // Checks that `message` goes on where the request stands, and copies it.
  absl::Status Take(const v1::PullResponse& message) {
    if (message.num_elements() != parameters_.size()) {
      return absl::InvalidArgumentError(absl::StrCat("the session has ", message.num_elements(),
                                                     " elements, the buffer ", parameters_.size()));
    }
    if (request_.has_version() &&
        (message.version() != request_.version() ||
         (request_.history() != 0 && message.history() != request_.history()))) {
      return absl::InternalError("the server mixed versions in one pull");
    }
    const v1::Section& section = message.section();
    // The rate may be changed between two versions, and the lookahead with it.
    if (section.kind() == v1::SECTION_KIND_LOOKAHEAD && next_learning_rate_.has_value() &&
        message.next_learning_rate() != *next_learning_rate_) {
      return StartOver("the learning rate that the lookahead is made with has changed");
    }
    const std::string& data = section.data();
    const size_t element_bytes = DtypeBytes(options_.dtype);
    const uint64_t begin = section.begin_element();
    const uint64_t size = data.size() / element_bytes;
    if (begin != request_.begin_element() || data.size() % element_bytes != 0 ||
        DtypeBytes(section.dtype()) != element_bytes || size > parameters_.size() - begin) {
      return absl::InternalError("the server left a gap in a pull");
    }
    if (message.has_crc32c() && core::Crc32c(data) != message.crc32c()) {
      return absl::UnavailableError(
          absl::StrCat("elements from ", begin, " on do not fit their checksum"));
    }
    overflow_.Add({message.num_overflowed(), message.first_overflowed()}, 0);
    DecodeFloats(options_.dtype, data.data(), parameters_.subspan(begin, size));
    request_.set_history(message.history());
    GoOnAt(message.version());
    request_.set_begin_element(begin + size);
    next_learning_rate_ = message.next_learning_rate();
    if (begin + size > farthest_) progress_ += begin + size - farthest_;
    farthest_ = std::max<uint64_t>(farthest_, begin + size);
    if (options_.progress) {
      options_.progress((begin + size) * element_bytes, parameters_.size() * element_bytes);
    }
    return absl::OkStatus();
  }

  const absl::Span<float> parameters_;
  const PullOptions& options_;
  const RoundWait& wait_;
  v1::PullRequest request_;  // what is still missing
  std::optional<double> next_learning_rate_;
  core::Overflow overflow_;  // of what has come
  uint64_t farthest_ = 0;    // elements
  uint64_t progress_ = 0;
};

}  // namespace

absl::StatusOr<PulledVersion> PullParameters(Transport& transport, const RetryOptions& retry,
                                             absl::string_view session_id, uint64_t history,
                                             absl::Span<float> parameters,
                                             const PullOptions& options, const PullStart* start) {
  const RoundWait wait(retry);
  Puller puller(session_id, history, parameters, options, wait);
  if (start != nullptr) puller.GoOnFrom(*start);
  absl::Status status = Retry(
      options.min_version > 0 ? wait.retry() : retry, transport,
      [&](absl::Duration timeout) { return puller.Attempt(transport, timeout); }, nullptr,
      &puller.progress());
  if (options.min_version > 0) {
    status = wait.Explain(std::move(status), absl::StrCat("the session has not come to version ",
                                                          options.min_version));
  }
  if (!status.ok()) return status;
  return puller.pulled();
}

}  // namespace talweg
