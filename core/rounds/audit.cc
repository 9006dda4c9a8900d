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
              const std::vector<OpenRound::Bystander>& bystanders,
              const std::vector<OpenRound::Bystander>& abstainers, Parts& parts) {
  for (size_t place = 0; place < members.size(); ++place) {
    parts.insert({places[place].index, members[place].incarnation});
  }
  for (const auto [index, incarnation] : bystanders) parts.insert({index, incarnation});
  for (const auto [index, incarnation] : abstainers) parts.insert({index, incarnation});
}

}  // namespace

// Counts anew what one machine keeps.
class RoundAudit {
 public:
  explicit RoundAudit(const RoundMachine& machine) : machine_(machine) {}
  absl::Status Check() const;

 private:
  // What is wrong with one worker, by itself.
  absl::Status CheckWorker(uint32_t index, bool has_part) const;
  // When something of the worker's is due.
  absl::Time Due(const Worker& worker) const;

  const RoundMachine& machine_;
};

absl::Status RoundAudit::CheckWorker(uint32_t index, bool has_part) const {
  const Worker& worker = machine_.workers_[index];
  const auto wrong = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat("worker \"", worker.name, "\" ", what));
  };
  const bool gives = worker.live && worker.gives_gradients();
  if (worker.stalled && !gives) return wrong("is stalled though it is gone");
  if (worker.counted && !gives) return wrong("is counted though it is gone");
  if (worker.left && (worker.live || !worker.calls.empty())) {
    return wrong("has left and is still here");
  }
  if (worker.left && !machine_.expectations_.HasContributed(worker) &&
      !(machine_.closed_.has_value() && worker.contributed_to == machine_.closed_->serial)) {
    return wrong("has left and is kept for no round");
  }
  if (!worker.live && !worker.calls.empty()) return wrong("waits and is not live");
  if (worker.pending.sequence != 0 && !has_part && !worker.pending.is_statistics)
    return wrong("is pending without a round");
  if (!worker.calls.empty() && worker.pending.sequence == 0 && !worker.held) {
    return wrong("has a call that waits for nothing");
  }
  if (worker.held && !machine_.clocks_.Holds(index, worker)) {
    return wrong("is held and nobody will let it go");
  }
  return absl::OkStatus();
}

absl::Time RoundAudit::Due(const Worker& worker) const {
  absl::Time due = absl::InfiniteFuture();
  // A tick lets go a worker that a wider bound holds no longer.
  if (worker.held && !machine_.closed_.has_value() &&
      !machine_.clocks_.IsAhead(worker, machine_.RoundsAhead()))
    due = machine_.now_;
  if (!worker.live) return due;
  if (worker.calls.empty()) due = std::min(due, worker.lease_end);  // a call keeps it
  const double seconds = machine_.closing().progress_seconds;
  if (seconds > 0)
    due = std::min(due, machine_.expectations_.OwesSince(worker) + absl::Seconds(seconds));
  return due;
}

absl::Status RoundAudit::Check() const {
  Parts parts;
  const OpenRound& round = machine_.round_;
  AddParts(round.members, round.places, round.bystanders, round.abstainers, parts);
  if (machine_.closed_.has_value()) {
    AddParts(machine_.closed_->record->members, machine_.closed_->places,
             machine_.closed_->bystanders, machine_.closed_->abstainers, parts);
  }
  absl::Status status;
  size_t left = 0, live = 0, live_gradient = 0, stalled = 0, waiting = 0, expected = 0;
  std::map<uint64_t, uint32_t> clocks;
  absl::Time due = absl::InfiniteFuture();
  machine_.workers_.table().ForEach([&](uint32_t index) {
    const Worker& worker = machine_.workers_[index];
    left += worker.left;
    live += worker.live;
    live_gradient += worker.live && worker.gives_gradients();
    stalled += worker.stalled;
    waiting += worker.calls.size();
    expected += machine_.expectations_.Expects(worker);
    if (worker.counted) ++clocks[worker.clock];
    status.Update(CheckWorker(index, parts.count({index, worker.incarnation}) > 0));
    due = std::min(due, Due(worker));
  });
  status.Update(Differ("workers that left", machine_.workers_.table().num_left(), left));
  status.Update(Differ("live workers", machine_.workers_.num_live(), live));
  status.Update(Differ("live gradient workers", machine_.num_live_gradient(), live_gradient));
  status.Update(Differ("stalled workers", machine_.expectations_.num_stalled(), stalled));
  status.Update(Differ("calls", machine_.workers_.calls().size(), waiting));
  status.Update(Differ("expected workers", machine_.expectations_.outstanding(), expected));
  status.Update(Differ("places", machine_.round_.places.size(), machine_.round_.members.size()));
  if (!machine_.clocks_.Are(clocks)) status.Update(absl::InternalError("clocks differ"));
  const bool closes =
      IsDue(machine_.closing(), machine_.round_, machine_.expectations_, machine_.now_);
  if (!machine_.closed_.has_value() && closes) due = std::min(due, machine_.now_);
  if (machine_.NextTick() > std::max(due, machine_.now_)) {
    status.Update(absl::InternalError(absl::StrCat(
        "next tick ", absl::FormatDuration(machine_.NextTick() - machine_.now_),
        " from now, but something is due in ", absl::FormatDuration(due - machine_.now_))));
  }
  return status;
}

absl::Status RoundMachine::Audit() const { return RoundAudit(*this).Check(); }

}  // namespace talweg::core
