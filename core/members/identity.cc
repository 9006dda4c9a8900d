// SPDX-License-Identifier: Apache-2.0
#include "core/members/identity.h"

#include "absl/strings/str_cat.h"
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

absl::Status LeftError(const std::string& name) {
  return MakeError(Reason::kWorkerNotJoined, absl::StrCat("worker \"", name, "\" has left"));
}

absl::Status TooManyError(size_t num_members, size_t allowed) {
  return MakeError(Reason::kTooManyWorkers,
                   absl::StrCat("the session has ", num_members, " workers, allowed: ", allowed));
}

}  // namespace talweg::core
