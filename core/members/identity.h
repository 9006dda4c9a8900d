// SPDX-License-Identifier: Apache-2.0
//
// Decides whether a message comes from a current member. A message of another history changes
// nothing. A member must join, and a newer incarnation fences the older ones. If the table
// is full, a new member takes the place of the member that expired longest ago.
//
// A join may carry a nonce, which all its attempts have in common, because an attempt that was
// given up may be processed late, after its own retry or after the join of another process:
//
//   nonce of the join                    the member (joined, not left)   what follows
//   none, or unknown to the member       any                             a new incarnation
//   that of the current incarnation      has other roles                 FIELD_OUT_OF_RANGE
//   that of the current incarnation      has the same roles              the same incarnation again
//   that of the incarnation replaced     any                             INCARNATION_FENCED
//
// A member remembers one replaced nonce. A late attempt of a process that is farther back, or of
// which no attempt was processed before, cannot be told from a newer process, and fences the
// member.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/members/member_events.h"
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

// What is kept of the nonce of a join: 0 for none, and only for that. Two nonces have the same
// digest with a chance of 2^-64.
uint64_t NonceDigest(absl::string_view nonce);

// Whether `join` is another attempt of the join that made the current incarnation of `member`.
// Fails as the table above says.
absl::StatusOr<bool> IsRepeat(const Member& member, const Join& join);
// What a new incarnation remembers as its replaced nonce. `older` is the member that it replaces.
uint64_t ReplacedNonce(const Member& older);

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
