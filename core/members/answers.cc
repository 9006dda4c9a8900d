// SPDX-License-Identifier: Apache-2.0
#include "core/members/answers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"

namespace talweg::core {
namespace {

absl::StatusOr<Remembered> IfSame(bool same_payload, Remembered remembered, uint64_t sequence) {
  if (same_payload) return remembered;
  return MakeError(Reason::kSequenceReused,
                   absl::StrCat("sequence ", sequence, " was sent before, with another payload"),
                   "header.sequence");
}

}  // namespace

absl::StatusOr<Remembered> RecallRepeat(const Member& member, uint64_t sequence, uint32_t digest) {
  const uint64_t last = std::max(member.pending.sequence, member.settled.sequence);
  if (sequence < last) {
    return MakeError(
        Reason::kSequenceTooOld,
        absl::StrCat("sequence ", sequence, " is older than the last one that came, ", last),
        "header.sequence");
  }
  if (sequence == member.pending.sequence) {
    return IfSame(digest == member.pending.digest, Remembered::kPending, sequence);
  }
  return IfSame(digest == member.settled.digest, Remembered::kSettled, sequence);
}

}  // namespace talweg::core
