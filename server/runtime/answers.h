// SPDX-License-Identifier: Apache-2.0
//
// The calls that one operation ends, and what they are told. A round may have many answers, and for
// each answer a message is made and sent, so several threads share the answers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
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
  // The same for a call that was parked.
  void Add(ParkedCall call, absl::StatusOr<core::Answer> answer) {
    Add(std::move(call.done), std::move(answer), call.wants_lookahead);
  }

  // The same for a call that needs nothing that goes along with answers.
  void Add(absl::AnyInvocable<void()> tell) { others_.push_back(std::move(tell)); }

  // Whether a call that has an answer wants the lookahead.
  bool AnyWantsLookahead() const {
    return std::any_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
      return entry.wants_lookahead && entry.answer.ok();
    });
  }
  // Replaces by `status` the answers of all calls that want the lookahead, or of all calls. Calls
  // that have no answer keep their error.
  void FailAllThatWantLookahead(const absl::Status& status);
  void FailAll(const absl::Status& status);

  // What goes along with the answers.
  struct Along {
    std::shared_ptr<const core::Parameters> parameters;  // of the current version
    std::shared_ptr<const core::Parameters> previous;  // of the version before, if a step was taken
    std::shared_ptr<const core::Parameters> lookahead;  // null if no call wants it
    double next_learning_rate = 0;                      // of the coming step
  };
  void SetAlong(Along along) { along_ = std::move(along); }

  size_t num_pieces() const { return std::max<size_t>(1, (size() + kPieceSize - 1) / kPieceSize); }
  // Tells the calls of a piece.
  void Tell(size_t piece);

 private:
  static constexpr size_t kPieceSize = 16;

  size_t size() const { return entries_.size() + others_.size(); }

  struct Entry {
    StepDone done;
    absl::StatusOr<core::Answer> answer;
    bool wants_lookahead = false;
  };

  void Tell(Entry& entry);

  std::vector<Entry> entries_;
  std::vector<absl::AnyInvocable<void()>> others_;
  Along along_;
};

}  // namespace talweg::server
