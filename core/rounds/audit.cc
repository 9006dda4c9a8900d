// SPDX-License-Identifier: Apache-2.0
//
// Whether a machine still adds up: everything that it counts along the way, counted anew.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/rounds/round_state.h"

namespace talweg::core {
namespace {

absl::Status Differ(absl::string_view what, uint64_t kept, uint64_t counted) {
  if (kept == counted) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": kept ", kept, ", counted ", counted));
}

// Incarnations that have a part in a round, or wait for it.
void AddParts(const Round& round, const std::vector<RoundMember>& members,
              std::set<std::pair<uint32_t, uint64_t>>& parts) {
  for (size_t place = 0; place < members.size(); ++place) {
    parts.insert({round.places[place].index, members[place].incarnation});
  }
  for (const auto [index, incarnation] : round.bystanders) parts.insert({index, incarnation});
}

}  // namespace

absl::Status RoundMachine::Audit() const {
  const State& state = *state_;
  const Round& round = state.round;
  std::set<std::pair<uint32_t, uint64_t>> parts;
  AddParts(round, round.members, parts);
  if (state.open_step.has_value()) {
    AddParts(state.open_step->round, state.open_step->record->members, parts);
  }
  absl::Status status;
  size_t left = 0, live = 0, live_gradient = 0, stalled = 0, waiting = 0, expected = 0;
  std::map<uint64_t, uint32_t> clocks;
  absl::Time due = absl::InfiniteFuture();
  state.workers.ForEach([&](uint32_t index) {
    const Worker& worker = state.workers[index];
    const auto wrong = [&](absl::string_view what) {
      status.Update(absl::InternalError(absl::StrCat("worker \"", worker.name, "\" ", what)));
    };
    left += worker.left;
    live += worker.live;
    live_gradient += worker.live && worker.gradient;
    stalled += worker.stalled;
    if (worker.stalled && !(worker.live && worker.gradient)) wrong("is stalled though it is gone");
    waiting += worker.calls.size();
    expected += state.Expects(worker);
    if (worker.counted) ++clocks[worker.clock];
    if (worker.counted && !(worker.live && worker.gradient)) wrong("is counted though it is gone");
    if (worker.left && (worker.live || !worker.calls.empty())) wrong("has left and is still here");
    const uint64_t part_of = worker.contributed_to;
    if (worker.left && part_of != round.serial &&
        !(state.open_step.has_value() && part_of == state.open_step->round.serial)) {
      wrong("has left and is kept for no round");
    }
    if (!worker.live && !worker.calls.empty()) wrong("waits and is not live");
    const bool has_part = parts.count({index, worker.incarnation}) > 0;
    if (worker.pending.sequence != 0 && !has_part) wrong("is pending without a round");
    if (!worker.calls.empty() && worker.pending.sequence == 0 && !worker.held) {
      wrong("has a call that waits for nothing");
    }
    if (worker.held) {
      const auto found = state.held.find(worker.clock);
      if (found == state.held.end() ||
          std::count(found->second.begin(), found->second.end(), index) == 0) {
        wrong("is held and nobody will let it go");
      }
      // A tick lets go whom a wider bound holds no longer.
      if (!state.open_step.has_value() && !state.IsAhead(worker)) due = std::min(due, state.now);
    }
    if (worker.live) {
      if (worker.calls.empty()) due = std::min(due, worker.lease_end);  // a call keeps it
      if (state.aggregation.progress_seconds > 0) {
        due = std::min(due,
                       state.OwesSince(worker) + absl::Seconds(state.aggregation.progress_seconds));
      }
    }
  });
  status.Update(Differ("workers that left", state.num_left, left));
  status.Update(Differ("live workers", state.num_live, live));
  status.Update(Differ("live gradient workers", state.num_live_gradient, live_gradient));
  status.Update(Differ("stalled workers", state.num_stalled, stalled));
  status.Update(Differ("calls", state.num_waiting, waiting));
  status.Update(Differ("expected workers", round.outstanding, expected));
  status.Update(Differ("places", round.places.size(), round.members.size()));
  if (!state.clocks.Are(clocks)) status.Update(absl::InternalError("clocks differ"));
  if (!state.open_step.has_value() && state.IsDue()) due = std::min(due, state.now);
  if (NextTick() > std::max(due, state.now)) {
    status.Update(absl::InternalError(absl::StrCat(
        "next tick ", absl::FormatDuration(NextTick() - state.now),
        " from now, but something is due in ", absl::FormatDuration(due - state.now))));
  }
  return status;
}

}  // namespace talweg::core
