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

absl::StatusOr<Remembered> Recall(const Member& member, uint64_t sequence, uint32_t digest) {
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
  if (sequence == member.settled.sequence) {
    return IfSame(digest == member.settled.digest, Remembered::kSettled, sequence);
  }
  return Remembered::kNothing;
}

Answer SettledAnswer(const Member& member, bool replayed) {
  const Member::Settled& settled = member.settled;
  return {settled.verdict, replayed, settled.version, settled.report, false};
}

Answer PendingAnswer(const Member& member, uint64_t version, bool replayed) {
  return {Verdict::kPending, replayed, version, nullptr, member.pending.will_not_count};
}

Answer HeldAnswer(const Member& member, bool replayed) {
  return {Verdict::kPending, replayed, member.settled.version, nullptr,
          member.settled.verdict != Verdict::kApplied};
}

}  // namespace talweg::core
