// SPDX-License-Identifier: Apache-2.0
//
// The calls that one operation ends, and what they are told. A round's answers are many, and each
// is a message to make and to send, so several threads share them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/calls/session_calls.h"
#include "server/runtime/parked_calls.h"

namespace talweg::server {

// Thread-compatible, except that Tell may run for different pieces at the same time.
class Answers {
 public:
  void Add(StepDone done, absl::StatusOr<core::Answer> answer, bool wants_lookahead = false) {
    entries_.push_back({std::move(done), std::move(answer), wants_lookahead});
  }
  // A call that waited.
  void Add(ParkedCall call, absl::StatusOr<core::Answer> answer) {
    Add(std::move(call.done), std::move(answer), call.wants_lookahead);
  }

  // Whether a call that has an answer wants the lookahead.
  bool AnyWantsLookahead() const {
    return std::any_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
      return entry.wants_lookahead && entry.answer.ok();
    });
  }
  // Replaces the answers of all who want the lookahead, or of all.
  void FailAllThatWantLookahead(const absl::Status& status);
  void FailAll(const absl::Status& status);

  // What goes along with the answers: the current version, the one before if a step made it, the
  // lookahead if somebody wants it, and the rate of the coming step.
  struct Along {
    std::shared_ptr<const core::Parameters> parameters;
    std::shared_ptr<const core::Parameters> previous;
    std::shared_ptr<const core::Parameters> lookahead;
    double next_learning_rate = 0;
  };
  void SetAlong(Along along) { along_ = std::move(along); }

  size_t num_pieces() const {
    return std::max<size_t>(1, (entries_.size() + kPieceSize - 1) / kPieceSize);
  }
  // Tells the calls of a piece.
  void Tell(size_t piece);

 private:
  static constexpr size_t kPieceSize = 16;

  struct Entry {
    StepDone done;
    absl::StatusOr<core::Answer> answer;
    bool wants_lookahead = false;
  };

  std::vector<Entry> entries_;
  Along along_;
};

}  // namespace talweg::server
