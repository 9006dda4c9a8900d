// SPDX-License-Identifier: Apache-2.0
//
// Decides what a repeat is told. Sequences increase within an incarnation, and gaps are allowed.
// For each member, the last sequence with a final verdict is remembered with its answer, and so is
// a later sequence that is pending. An earlier sequence is too old.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "core/members/member.h"

namespace talweg::core {

// What is remembered of a sequence.
enum class Remembered : uint8_t {
  kNothing,  // It is new.
  kPending,  // It came before and has no final verdict yet.
  kSettled,  // It came before and has a final verdict.
};

// Recall, for a sequence that is not new.
absl::StatusOr<Remembered> RecallRepeat(const Member& member, uint64_t sequence, uint32_t digest);
// Looks up `sequence` (>= 1), sent with a payload of `digest`. Fails with SEQUENCE_TOO_OLD if a
// later sequence came, and with SEQUENCE_REUSED if this one came with another payload.
inline absl::StatusOr<Remembered> Recall(const Member& member, uint64_t sequence, uint32_t digest) {
  const uint64_t last = std::max(member.pending.sequence, member.settled.sequence);
  if (sequence > last) return Remembered::kNothing;
  return RecallRepeat(member, sequence, digest);
}

// The remembered answer to the settled sequence.
inline Answer SettledAnswer(const Member& member, bool replayed) {
  const Member::Settled& settled = member.settled;
  return {settled.verdict, replayed, settled.version, settled.report, false};
}

// The answer to the pending sequence, while its final verdict is still to come; `version` is the
// version that its contribution may be part of.
inline Answer PendingAnswer(const Member& member, uint64_t version, bool replayed) {
  return {Verdict::kPending, replayed, version, nullptr, member.pending.will_not_count};
}

// The answer to the settled sequence while a policy holds its verdict back.
inline Answer HeldAnswer(const Member& member, bool replayed) {
  return {Verdict::kPending, replayed, member.settled.version, nullptr,
          IsRefusal(member.settled.verdict)};
}

}  // namespace talweg::core
