// SPDX-License-Identifier: Apache-2.0
//
// Whether a machine still adds up: everything that it counts along the way, counted anew.
#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/rounds/closing_rule.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {
namespace {

absl::Status Differ(absl::string_view what, uint64_t kept, uint64_t counted) {
  if (kept == counted) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": kept ", kept, ", counted ", counted));
}

using Parts = std::set<std::pair<uint32_t, uint64_t>>;

// Incarnations that have a part in a round, or wait for it.
void AddParts(const std::vector<RoundMember>& members, const std::vector<OpenRound::Place>& places,
              const std::vector<OpenRound::Bystander>& bystanders, Parts& parts) {
  for (size_t place = 0; place < members.size(); ++place) {
    parts.insert({places[place].index, members[place].incarnation});
  }
  for (const auto [index, incarnation] : bystanders) parts.insert({index, incarnation});
}

}  // namespace

// What is wrong with one worker, by itself.
absl::Status RoundMachine::AuditWorker(uint32_t index, bool has_part) const {
  const Worker& worker = workers_[index];
  const auto wrong = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat("worker \"", worker.name, "\" ", what));
  };
  const bool gives = worker.live && worker.gives_gradients();
  if (worker.stalled && !gives) return wrong("is stalled though it is gone");
  if (worker.counted && !gives) return wrong("is counted though it is gone");
  if (worker.left && (worker.live || !worker.calls.empty())) {
    return wrong("has left and is still here");
  }
  if (worker.left && !expectations_.HasContributed(worker) &&
      !(closed_.has_value() && worker.contributed_to == closed_->serial)) {
    return wrong("has left and is kept for no round");
  }
  if (!worker.live && !worker.calls.empty()) return wrong("waits and is not live");
  if (worker.pending.sequence != 0 && !has_part) return wrong("is pending without a round");
  if (!worker.calls.empty() && worker.pending.sequence == 0 && !worker.held) {
    return wrong("has a call that waits for nothing");
  }
  if (worker.held && !clocks_.Holds(index, worker)) {
    return wrong("is held and nobody will let it go");
  }
  return absl::OkStatus();
}

// When something of the worker's is due.
absl::Time RoundMachine::AuditDue(const Worker& worker) const {
  absl::Time due = absl::InfiniteFuture();
  // A tick lets go a worker that a wider bound holds no longer.
  if (worker.held && !closed_.has_value() && !clocks_.IsAhead(worker, RoundsAhead())) due = now_;
  if (!worker.live) return due;
  if (worker.calls.empty()) due = std::min(due, worker.lease_end);  // a call keeps it
  const double seconds = closing_.progress_seconds;
  if (seconds > 0) due = std::min(due, expectations_.OwesSince(worker) + absl::Seconds(seconds));
  return due;
}

absl::Status RoundMachine::Audit() const {
  Parts parts;
  AddParts(round_.members, round_.places, round_.bystanders, parts);
  if (closed_.has_value()) {
    AddParts(closed_->record->members, closed_->places, closed_->bystanders, parts);
  }
  absl::Status status;
  size_t left = 0, live = 0, live_gradient = 0, stalled = 0, waiting = 0, expected = 0;
  std::map<uint64_t, uint32_t> clocks;
  absl::Time due = absl::InfiniteFuture();
  workers_.table().ForEach([&](uint32_t index) {
    const Worker& worker = workers_[index];
    left += worker.left;
    live += worker.live;
    live_gradient += worker.live && worker.gives_gradients();
    stalled += worker.stalled;
    waiting += worker.calls.size();
    expected += expectations_.Expects(worker);
    if (worker.counted) ++clocks[worker.clock];
    status.Update(AuditWorker(index, parts.count({index, worker.incarnation}) > 0));
    due = std::min(due, AuditDue(worker));
  });
  status.Update(Differ("workers that left", workers_.table().num_left(), left));
  status.Update(Differ("live workers", workers_.num_live(), live));
  status.Update(Differ("live gradient workers", num_live_gradient(), live_gradient));
  status.Update(Differ("stalled workers", expectations_.num_stalled(), stalled));
  status.Update(Differ("calls", workers_.calls().size(), waiting));
  status.Update(Differ("expected workers", expectations_.outstanding(), expected));
  status.Update(Differ("places", round_.places.size(), round_.members.size()));
  if (!clocks_.Are(clocks)) status.Update(absl::InternalError("clocks differ"));
  const bool closes = MustClose(closing_, round_, expectations_, now_);
  if (!closed_.has_value() && closes) due = std::min(due, now_);
  if (NextTick() > std::max(due, now_)) {
    status.Update(absl::InternalError(
        absl::StrCat("next tick ", absl::FormatDuration(NextTick() - now_),
                     " from now, but something is due in ", absl::FormatDuration(due - now_))));
  }
  return status;
}

}  // namespace talweg::core
