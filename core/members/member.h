// SPDX-License-Identifier: Apache-2.0
//
// One member of a session: who it is, until when it is believed to live, what is remembered of what
// it sent, and which of its calls wait. A policy derives its own record from this one, so that
// everything about a member is one piece of memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "core/members/answer.h"
#include "core/members/roles.h"

namespace talweg::core {

// A call that waits for an answer.
struct WaitingCall {
  uint64_t ticket = 0;
  bool repeats = false;  // Its answer will be a remembered one.
  bool may_wait = true;  // It may wait for other members; if not, only for the step under way.
};

struct Member {
  // The last sequence that has a final verdict; sequence 0 means that there is none.
  struct Settled {
    uint64_t sequence = 0;
    uint64_t version = 0;
    std::shared_ptr<const StepReport> report;
    uint32_t digest = 0;
    Verdict verdict = Verdict::kApplied;
  };
  // A later sequence that has no final verdict yet; sequence 0 means that there is none.
  struct Pending {
    uint64_t sequence = 0;
    uint32_t digest = 0;
    bool will_not_count = false;  // Its verdict will say that it was refused.
    bool abstains = false;        // It is an abstention.
    bool is_statistics = false;   // It has statistics alone, and waits for nobody.
  };

  std::string name;
  uint64_t incarnation = 0;
  uint64_t nonce = 0;           // of the join that made this incarnation; 0 if it had none
  uint64_t replaced_nonce = 0;  // of the newest incarnation before it that had a nonce
  absl::Time lease_end;
  absl::Time alarm = absl::InfiniteFuture();  // when the policy looks at the member next
  Settled settled;
  Pending pending;
  // They wait for the answer to the pending sequence, or to the settled one if a policy holds it.
  absl::InlinedVector<WaitingCall, 1> calls;
  Roles roles = {Role::kGradient};
  bool live = false;  // Its lease runs.
  bool left = false;  // It has left, but its place is kept.
};

}  // namespace talweg::core
