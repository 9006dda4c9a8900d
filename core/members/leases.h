// SPDX-License-Identifier: Apache-2.0
//
// Decides which members are live: a member lives while its lease runs or one of its calls waits.
// Counts the live members by role. Policies include this file; each policy decides what follows
// when a lease ends.
#pragma once

#include <array>
#include <cstddef>

#include "absl/time/time.h"
#include "core/members/member.h"

namespace talweg::core {

// Thread-compatible. Its owner tells it of every member that begins or ceases to live.
class Leases {
 public:
  // The member lives. Returns false if it did already.
  bool Begin(Member& member) {
    if (member.live) return false;
    member.live = true;
    Count(member.roles, 1);
    return true;
  }
  // The member lives no longer. Returns false if it did not.
  bool End(Member& member) {
    if (!member.live) return false;
    member.live = false;
    Count(member.roles, -1);
    return true;
  }

  // Whether the lease is over. A call that waits keeps the lease running.
  static bool IsOver(const Member& member, absl::Time now) {
    return member.calls.empty() && member.lease_end <= now;
  }
  // When the lease may be over at the earliest, if a lease that is renewed now ends at `renewed`.
  static absl::Time EarliestEnd(const Member& member, absl::Time renewed) {
    return member.calls.empty() ? member.lease_end : renewed;
  }

  size_t num_live() const { return num_live_; }
  size_t num_live(Role role) const { return by_role_[static_cast<size_t>(role)]; }

 private:
  void Count(Roles roles, int by) {
    num_live_ += by;
    for (size_t role = 0; role < by_role_.size(); ++role) {
      if (roles.Has(static_cast<Role>(role))) by_role_[role] += by;
    }
  }

  size_t num_live_ = 0;
  std::array<size_t, 3> by_role_ = {};  // a member with several roles is counted in each
};

}  // namespace talweg::core
