// SPDX-License-Identifier: Apache-2.0
//
// A worker that searches: a member, and the lease that it holds; and what a search does when such a
// worker comes, lives or goes. Only this room includes this file.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "core/members/attendance.h"
#include "core/members/member.h"
#include "core/search/generation.h"
#include "core/search/search_mutation.h"

namespace talweg::core {

struct Searcher : Member {
  // The lease that it got last. It is open while the generation of that number is open, and holds
  // one of its pairs (Generation::IsHeld).
  uint32_t lease = 0;  // 0: none
  uint32_t generation = 0;
  PairRange range;
  absl::Time expires = absl::InfiniteFuture();
  uint32_t capacity = 1;  // that its waiting calls asked for
};

// Made for one event. Borrows everything that it refers to.
struct SearcherRules {
  Generation& open;
  absl::Time time;
  absl::Time renewed_lease_end;
  SearchMutation mutation = SearchMutation::kNone;

  absl::Time now() const { return time; }
  absl::Time lease_end() const { return renewed_lease_end; }

  void BeginsToLive(Searcher& /*worker*/) const {}
  // Others get the pairs of its lease. A newer incarnation begins without one: its pairs may be
  // what ended the older one.
  void CeasesToLive(Searcher& worker, Departure why) const {
    if (why == Departure::kExpired && mutation == SearchMutation::kKeepDeadLease) {
      worker.expires = absl::InfiniteFuture();
    } else {
      GiveBack(worker, why != Departure::kLeft);
    }
  }
  void IsLookedAt(Searcher& worker) const {
    if (worker.expires > time) return;
    if (mutation == SearchMutation::kKeepLease) {
      worker.expires = absl::InfiniteFuture();
    } else {
      GiveBack(worker, /*is_lost=*/true);
    }
  }
  absl::Time LookAgainBy(const Searcher& worker) const { return worker.expires; }
  bool KeepsPlace(const Searcher& /*worker*/) const { return false; }
  void CarryOver(const Searcher& /*older*/, Searcher& /*newer*/) const {}

  bool HoldsLease(const Searcher& worker) const {
    return worker.lease != 0 && worker.generation == open.number() &&
           open.IsHeld(worker.lease, worker.range);
  }

 private:
  void GiveBack(Searcher& worker, bool is_lost) const {
    if (worker.generation == open.number()) open.Return(worker.lease, worker.range, is_lost);
    worker.expires = absl::InfiniteFuture();
  }
};

}  // namespace talweg::core
