// SPDX-License-Identifier: Apache-2.0
//
// A worker: a member, and what rounds know of it. Only this room includes this file.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "core/members/member.h"
#include "core/members/member_table.h"

namespace talweg::core {

struct Worker : Member {
  bool stalled = false;      // It lives without progress, and no round expects it.
  bool counted = false;      // Its clock is among those that others wait for.
  bool held = false;         // Its settled answer waits for slower workers.
  bool lease_ended = false;  // while a round expected it, since its last part in one
  absl::Time progress_from;  // of its last verdict, or of its arrival
  uint64_t clock = 0;        // verdicts, with bounded staleness
  // The last version that it had a part in, or that it found when it came.
  uint64_t part_of_version = 0;
  uint64_t contributed_to = 0;  // serial of the last round that it is part of
  uint64_t excluded_from = 0;   // serial of the last round that does not expect it any more
  uint64_t outdated_in = 0;     // serial of the last round in which its gradient was too old

  bool gives_gradients() const { return roles.Has(Role::kGradient); }
};

using Workers = MemberTable<Worker>;

}  // namespace talweg::core
