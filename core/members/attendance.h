// SPDX-License-Identifier: Apache-2.0
//
// Decides who comes, lives and goes: members are admitted, found and renewed, they expire and
// leave, and each is looked at when its alarm rings. What follows for the versions is for the
// policy to say, in rules that are handed in with each call. Policies include it.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/members/identity.h"
#include "core/members/leases.h"
#include "core/members/member_events.h"
#include "core/members/member_table.h"
#include "core/members/waiting_calls.h"

namespace talweg::core {

// Why a member ceases to live.
enum class Departure : uint8_t {
  kExpired,   // Its lease is over.
  kReplaced,  // A newer incarnation joined.
  kLeft,      // It said so.
};

// What an Attendance asks of its policy. An object of this kind is made for one event and refers to
// the policy's own state; its calls are inlined.
template <class R, class M>
concept AttendanceRules = requires(const R rules, M& member, const M& seen, Departure why) {
  // The time of the event, and the end of a lease that the event renews.
  { rules.now() } -> std::same_as<absl::Time>;
  { rules.lease_end() } -> std::same_as<absl::Time>;
  // The member lives from now on.
  rules.BeginsToLive(member);
  // The member still lives, and is about to cease to live.
  rules.CeasesToLive(member, why);
  // The member's alarm rang, and the member lives on.
  rules.IsLookedAt(member);
  // When the policy needs to look at the member at the latest; InfiniteFuture if it need not. A
  // lease that ends is looked at without being asked for.
  { rules.LookAgainBy(seen) } -> std::same_as<absl::Time>;
  // Whether the place of a member that has gone is kept until the policy calls FreePlace.
  { rules.KeepsPlace(seen) } -> std::same_as<bool>;
  // A newer incarnation begins blank; copies what it shall know of the older one.
  rules.CarryOver(seen, member);
};

// `M` is derived from Member, as in MemberTable. Thread-compatible; movable. Every call costs
// O(log n), except Admit if the table is full, which costs O(n).
template <class M>
class Attendance {
 public:
  using Table = MemberTable<M>;
  static constexpr uint32_t kNone = Table::kNone;

  M& operator[](uint32_t index) { return table_[index]; }
  const M& operator[](uint32_t index) const { return table_[index]; }
  // The policy may change its own part of the members.
  Table& table() { return table_; }
  const Table& table() const { return table_; }
  // The policy adds and answers calls; calls of a member that goes fail by themselves.
  WaitingCalls& calls() { return calls_; }
  const WaitingCalls& calls() const { return calls_; }

  size_t num_members() const { return table_.num_members(); }
  size_t num_live() const { return leases_.num_live(); }
  size_t num_live(Role role) const { return leases_.num_live(role); }

  // Admits a member and returns its index. An older incarnation is fenced, and its calls fail. If
  // there are `allowed` members, the new one takes the place of the member that expired longest
  // ago; if none expired, Admit fails with TOO_MANY_WORKERS. A join that repeats the one that the
  // member came with (IsRepeat) only renews its lease: the member keeps its incarnation, and
  // everything that waits.
  template <AttendanceRules<M> R>
  absl::StatusOr<uint32_t> Admit(const Join& join, size_t allowed, const R& rules,
                                 std::vector<Released>& released) {
    uint32_t index = table_.Find(join.worker);
    if (index != kNone) {
      TALWEG_ASSIGN_OR_RETURN(const bool is_repeat, IsRepeat(table_[index], join));
      if (is_repeat) {
        Renew(index, rules);
        return index;
      }
    }
    TALWEG_RETURN_IF_ERROR(
        MakeRoom(table_, join.worker, allowed, [&](uint32_t expired) { Remove(expired, rules); }));
    uint64_t replaced_nonce = 0;
    if (index == kNone) {
      index = table_.Insert(join.worker);
    } else {
      M& older = table_[index];
      TALWEG_CHECK(older.incarnation < join.incarnation);
      replaced_nonce = ReplacedNonce(older);
      CeaseToLive(older, Departure::kReplaced, rules);
      calls_.FailAll(older, ReplacedError(older, join.incarnation), released);
    }
    M& member =
        table_.Reset(index, [&](const M& older, M& newer) { rules.CarryOver(older, newer); });
    member.incarnation = join.incarnation;
    member.nonce = join.nonce;
    member.replaced_nonce = replaced_nonce;
    member.roles = join.roles;
    Renew(index, rules);
    return index;
  }

  // The member's index, with its lease renewed. Fails as CheckIncarnation does.
  template <AttendanceRules<M> R>
  absl::StatusOr<uint32_t> FindAndRenew(const std::string& name, uint64_t incarnation,
                                        const R& rules) {
    const uint32_t index = table_.Find(name);
    const M* const member = index == kNone ? nullptr : &table_[index];
    TALWEG_RETURN_IF_ERROR(CheckIncarnation(member, name, incarnation));
    Renew(index, rules);
    return index;
  }

  // The member leaves, and its calls fail.
  template <AttendanceRules<M> R>
  void Leave(uint32_t index, const R& rules, std::vector<Released>& released) {
    M& member = table_[index];
    CeaseToLive(member, Departure::kLeft, rules);
    calls_.FailAll(member, LeftError(member.name), released);
    Remove(index, rules);
  }

  // The connection of a call broke. Does nothing if the call does not wait.
  template <AttendanceRules<M> R>
  void ForgetCall(const CallEnded& ended, const R& rules) {
    const uint32_t index = table_.Find(ended.worker);
    if (index != kNone) calls_.Forget(table_[index], ended.ticket, rules.lease_end());
  }

  // Looks at every member whose alarm rings by now: it expires, or lives on.
  template <AttendanceRules<M> R>
  void Look(const R& rules) {
    for (uint32_t index = table_.PopRinging(rules.now()); index != kNone;
         index = table_.PopRinging(rules.now())) {
      M& member = table_[index];
      if (!member.live) continue;
      if (Leases::IsOver(member, rules.now())) {
        CeaseToLive(member, Departure::kExpired, rules);
      } else {
        rules.IsLookedAt(member);
        SetAlarm(index, rules);
      }
    }
  }
  // When Look must be called at the latest; InfiniteFuture if nobody is looked at.
  absl::Time NextLook() const { return table_.EarliestAlarm(); }
  // Looks at one live member, or at all of them, from `time` on.
  void LookAt(uint32_t index, absl::Time time) { table_.SetAlarm(index, time); }
  void LookAtAll(absl::Time time) { table_.RingAll(time); }

  // A member that a saved state had lives again, with a new lease. The policy is not told that it
  // begins to live, because its part of the member was saved too.
  template <AttendanceRules<M> R>
  void Restore(uint32_t index, const R& rules) {
    table_[index].lease_end = rules.lease_end();
    leases_.Begin(table_[index]);
    SetAlarm(index, rules);
  }

  // Frees the place of a member that has left, which KeepsPlace asked to keep.
  void FreePlace(uint32_t index) { table_.Erase(index); }

 private:
  template <class R>
  void Renew(uint32_t index, const R& rules) {
    M& member = table_[index];
    member.lease_end = rules.lease_end();
    if (leases_.Begin(member)) rules.BeginsToLive(member);
    SetAlarm(index, rules);
  }
  template <class R>
  void CeaseToLive(M& member, Departure why, const R& rules) {
    if (!member.live) return;
    rules.CeasesToLive(member, why);
    leases_.End(member);
  }
  template <class R>
  void SetAlarm(uint32_t index, const R& rules) {
    const M& member = table_[index];
    table_.SetAlarm(
        index, std::min(Leases::EarliestEnd(member, rules.lease_end()), rules.LookAgainBy(member)));
  }
  // Removes a member whose lease has ended.
  template <class R>
  void Remove(uint32_t index, const R& rules) {
    if (rules.KeepsPlace(table_[index])) return table_.KeepPlace(index);
    table_.Erase(index);
  }

  Table table_;
  Leases leases_;
  WaitingCalls calls_;
};

}  // namespace talweg::core
