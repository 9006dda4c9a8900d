// SPDX-License-Identifier: Apache-2.0
#include "core/members/identity.h"

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"

namespace talweg::core {

absl::Status HistoryError(uint64_t history, uint64_t current, uint64_t version) {
  return MakeError(Reason::kHistoryChanged,
                   absl::StrCat("history ", history, " is not the session's, which is ", current,
                                " at version ", version),
                   "", {{"history", absl::StrCat(current)}, {"version", absl::StrCat(version)}});
}

absl::Status IncarnationError(const Member* member, const std::string& name, uint64_t incarnation) {
  if (member == nullptr || member->left || incarnation > member->incarnation) {
    return MakeError(
        Reason::kWorkerNotJoined,
        absl::StrCat("worker \"", name, "\" has not joined as incarnation ", incarnation));
  }
  return MakeError(Reason::kIncarnationFenced,
                   absl::StrCat("incarnation ", incarnation, " of worker \"", name,
                                "\" was replaced by incarnation ", member->incarnation));
}

absl::Status ReplacedError(const Member& member, uint64_t newer) {
  return MakeError(Reason::kIncarnationFenced,
                   absl::StrCat("incarnation ", member.incarnation, " of worker \"", member.name,
                                "\" was replaced by incarnation ", newer));
}

uint64_t NonceDigest(absl::string_view nonce) {
  if (nonce.empty()) return 0;
  const uint64_t digest = Fnv1a(nonce);
  return digest != 0 ? digest : 1;
}

absl::StatusOr<bool> IsRepeat(const Member& member, const Join& join) {
  if (member.left || join.nonce == 0) return false;
  if (join.nonce == member.nonce) {
    if (join.roles == member.roles) return true;
    return MakeError(Reason::kFieldOutOfRange,
                     absl::StrCat("nonce was used before, by a join of worker \"", member.name,
                                  "\" with other roles"),
                     "nonce");
  }
  if (join.nonce == member.replaced_nonce) {
    return MakeError(Reason::kIncarnationFenced,
                     absl::StrCat("the process of worker \"", member.name,
                                  "\" that joins with this nonce was replaced by incarnation ",
                                  member.incarnation));
  }
  return false;
}

uint64_t ReplacedNonce(const Member& older) {
  if (older.left) return 0;
  return older.nonce != 0 ? older.nonce : older.replaced_nonce;
}

absl::Status LeftError(const std::string& name) {
  return MakeError(Reason::kWorkerNotJoined, absl::StrCat("worker \"", name, "\" has left"));
}

absl::Status TooManyError(size_t num_members, size_t allowed) {
  return MakeError(Reason::kTooManyWorkers,
                   absl::StrCat("the session has ", num_members, " workers, allowed: ", allowed));
}

}  // namespace talweg::core
