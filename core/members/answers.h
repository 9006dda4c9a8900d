// SPDX-License-Identifier: Apache-2.0
//
// Decides what a repeat is told. Sequences increase within an incarnation, and gaps are allowed.
// For each member, the last sequence with a final verdict is remembered with its answer, and so is
// a later sequence that is pending. An earlier sequence is too old.
#pragma once

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

// Looks up `sequence` (>= 1), sent with a payload of `digest`. Fails with SEQUENCE_TOO_OLD if a
// later sequence came, and with SEQUENCE_REUSED if this one came with another payload.
absl::StatusOr<Remembered> Recall(const Member& member, uint64_t sequence, uint32_t digest);

// The remembered answer to the settled sequence.
Answer SettledAnswer(const Member& member, bool replayed);

// The answer to the pending sequence, while its final verdict is still to come; `version` is the
// version that its contribution may be part of.
Answer PendingAnswer(const Member& member, uint64_t version, bool replayed);

// The answer to the settled sequence while a policy holds its verdict back.
Answer HeldAnswer(const Member& member, bool replayed);

}  // namespace talweg::core
