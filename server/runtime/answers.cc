// SPDX-License-Identifier: Apache-2.0
#include "server/runtime/answers.h"

namespace talweg::server {

void Answers::FailAllThatWantLookahead(const absl::Status& status) {
  for (Entry& entry : entries_) {
    if (entry.wants_lookahead && entry.answer.ok()) entry.answer = status;
  }
}

void Answers::FailAll(const absl::Status& status) {
  for (Entry& entry : entries_) {
    if (entry.answer.ok()) entry.answer = status;
  }
}

void Answers::Tell(size_t piece) {
  const size_t end = std::min((piece + 1) * kPieceSize, size());
  for (size_t place = piece * kPieceSize; place < end; ++place) {
    if (place < entries_.size()) {
      Tell(entries_[place]);
    } else {
      others_[place - entries_.size()]();
    }
  }
}

void Answers::Tell(Entry& entry) {
  if (!entry.answer.ok()) {
    // Moved, not copied: copies share memory, and are destroyed on different threads.
    return entry.done(std::move(entry.answer).status());
  }
  core::Answer answer = *std::move(entry.answer);
  const bool is_of_step = along_.previous != nullptr && !answer.replayed &&
                          answer.verdict == core::Verdict::kApplied &&
                          answer.applied_version == along_.previous->version + 1;
  entry.done(
      StepOutcome{std::move(answer), along_.parameters, is_of_step ? along_.previous : nullptr,
                  entry.wants_lookahead ? along_.lookahead : nullptr, along_.next_learning_rate});
}

}  // namespace talweg::server
