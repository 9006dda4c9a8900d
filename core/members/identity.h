// SPDX-License-Identifier: Apache-2.0
//
// Decides whether a message comes from a current member. A message of another history changes
// nothing. A member must join, and a newer incarnation fences the older ones. If the table
// is full, a new member takes the place of the member that expired longest ago.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/members/member_table.h"

namespace talweg::core {

// The errors of the two checks below, which every message passes.
absl::Status HistoryError(uint64_t history, uint64_t current, uint64_t version);
absl::Status IncarnationError(const Member* member, const std::string& name, uint64_t incarnation);

// Fails with HISTORY_CHANGED, with the history and the version to go on from, unless `history` is
// `current`.
inline absl::Status CheckHistory(uint64_t history, uint64_t current, uint64_t version) {
  return history == current ? absl::OkStatus() : HistoryError(history, current, version);
}

// Fails with WORKER_NOT_JOINED if `member` is null, has left, or is older than `incarnation` (which
// then was never issued to this member), and with INCARNATION_FENCED if the member is newer.
inline absl::Status CheckIncarnation(const Member* member, const std::string& name,
                                     uint64_t incarnation) {
  const bool is_current = member != nullptr && !member->left && member->incarnation == incarnation;
  return is_current ? absl::OkStatus() : IncarnationError(member, name, incarnation);
}

// INCARNATION_FENCED, for calls of `member` that wait while `newer` joins in its name.
absl::Status ReplacedError(const Member& member, uint64_t newer);
// WORKER_NOT_JOINED, for calls that wait while their member leaves.
absl::Status LeftError(const std::string& name);
// TOO_MANY_WORKERS.
absl::Status TooManyError(size_t num_members, size_t allowed);

// Makes room for a member of this name. If there are `allowed` members already and none of them has
// this name, `drop` is called with the index of the member that expired longest ago. Fails with
// TOO_MANY_WORKERS if no member expired. O(n) if the table is full.
template <class M, class Drop>
absl::Status MakeRoom(const MemberTable<M>& members, const std::string& name, size_t allowed,
                      const Drop& drop) {
  const uint32_t index = members.Find(name);
  if (index != MemberTable<M>::kNone && !members[index].left) return absl::OkStatus();
  if (members.num_members() < allowed) return absl::OkStatus();
  const uint32_t expired = members.LongestExpired();
  if (expired == MemberTable<M>::kNone) return TooManyError(members.num_members(), allowed);
  drop(expired);
  return absl::OkStatus();
}

}  // namespace talweg::core
