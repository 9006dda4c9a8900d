// SPDX-License-Identifier: Apache-2.0
//
// What rounds do when a worker begins to live, is looked at, or ceases to live: the rules that
// Attendance asks for. Only this room includes this file.
#pragma once

#include <algorithm>

#include "absl/time/time.h"
#include "core/members/attendance.h"
#include "core/rounds/aggregation_config.h"
#include "core/rounds/clocks.h"
#include "core/rounds/expectations.h"
#include "core/rounds/mutation.h"
#include "core/rounds/open_round.h"
#include "core/rounds/worker.h"

namespace talweg::core {

// Made for one event. Borrows everything that it refers to.
struct WorkerRules {
  Expectations& expectations;
  Clocks& clocks;
  OpenRound& round;  // Only a mutation changes it.
  const AggregationConfig& closing;
  absl::Time time;
  absl::Time renewed_lease_end;
  Mutation mutation;

  absl::Time now() const { return time; }
  absl::Time lease_end() const { return renewed_lease_end; }

  void BeginsToLive(Worker& worker) const {
    expectations.Exclude(worker);
    worker.progress_from = time;
    clocks.Count(worker, time);
  }
  void CeasesToLive(Worker& worker, Departure why) const {
    if (why == Departure::kExpired) Mutate(worker);
    expectations.Gone(worker, why == Departure::kExpired);
    clocks.Uncount(worker);
  }
  // A worker that made no progress is waited for no longer.
  void IsLookedAt(Worker& worker) const {
    const double seconds = closing.progress_seconds;
    if (seconds <= 0 || expectations.OwesSince(worker) + absl::Seconds(seconds) > time) return;
    if (expectations.Expects(worker)) expectations.Stall(worker);
    clocks.Uncount(worker);
  }
  absl::Time LookAgainBy(const Worker& worker) const {
    if (closing.progress_seconds <= 0) return absl::InfiniteFuture();
    // A worker that owes nothing yet may start to owe now, so count from now.
    return std::min(expectations.OwesSince(worker), time) + absl::Seconds(closing.progress_seconds);
  }
  // A worker that is part of the open round keeps its place until that round closes, because it
  // counts once. Its newer incarnation does not count again either.
  bool KeepsPlace(const Worker& worker) const { return expectations.HasContributed(worker); }
  void CarryOver(const Worker& older, Worker& newer) const {
    newer.contributed_to = older.contributed_to;
    newer.part_of_version = older.part_of_version;
  }

 private:
  void Mutate(const Worker& worker) const {
    if (mutation == Mutation::kUnfoldAtExpiry && expectations.HasContributed(worker)) {
      round.Unfold(worker.incarnation);
    }
    if (mutation == Mutation::kKeepExpecting && expectations.Expects(worker)) {
      expectations.CountOneMore();
    }
  }
};

}  // namespace talweg::core
