// SPDX-License-Identifier: Apache-2.0
//
// Who is there: joins, leases, clocks, and what becomes of calls whose worker goes.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/rounds/round_state.h"

namespace talweg::core {

absl::Time RoundMachine::State::LeaseEnd() const {
  return now + absl::Seconds(static_cast<int64_t>(aggregation.lease_seconds));
}

absl::StatusOr<uint32_t> RoundMachine::State::FindWorker(uint64_t of_history,
                                                         const std::string& name,
                                                         uint64_t incarnation) {
  if (mutation != Mutation::kIgnoreHistory) {
    TALWEG_RETURN_IF_ERROR(core::CheckHistory(of_history, history, version));
  }
  const uint32_t index = workers.Find(name);
  if (index == WorkerTable::kNone || workers[index].left ||
      incarnation > workers[index].incarnation) {
    return MakeError(
        Reason::kWorkerNotJoined,
        absl::StrCat("worker \"", name, "\" has not joined as incarnation ", incarnation));
  }
  Worker& worker = workers[index];
  if (incarnation < worker.incarnation && mutation != Mutation::kIgnoreFencing) {
    return MakeError(Reason::kIncarnationFenced,
                     absl::StrCat("incarnation ", incarnation, " of worker \"", name,
                                  "\" was replaced by incarnation ", worker.incarnation));
  }
  worker.lease_end = LeaseEnd();
  SetLive(index);
  return index;
}

void RoundMachine::State::SetLive(uint32_t index) {
  Worker& worker = workers[index];
  if (!worker.live) {
    worker.live = true;
    ++num_live;
    if (worker.gradient) ++num_live_gradient;
    if (round.open) worker.excluded_from = round.serial;  // it froze without this one
    worker.progress_from = now;
    Count(worker);
  }
  SetAlarm(index);
  // Only a tick opens a round for one that comes back.
  if (MayFreeze()) workers.SetAlarm(index, now);
}

void RoundMachine::State::SetDead(uint32_t index) {
  Worker& worker = workers[index];
  if (!worker.live) return;
  ExpectNoLonger(worker);
  Uncount(worker);
  if (worker.stalled) --num_stalled;
  worker.stalled = false;
  worker.live = false;
  --num_live;
  if (worker.gradient) --num_live_gradient;
}

absl::Time RoundMachine::State::OwesSince(const Worker& worker) const {
  if (worker.counted && !worker.held) return worker.progress_from;
  if (Expects(worker)) return std::max(worker.progress_from, round.opened);
  return absl::InfiniteFuture();
}

void RoundMachine::State::SetAlarm(uint32_t index) {
  const Worker& worker = workers[index];
  absl::Time time = worker.calls.empty() ? worker.lease_end : LeaseEnd();
  if (aggregation.progress_seconds > 0) {
    // Who owes nothing now may from this moment on.
    const absl::Time since = std::min(OwesSince(worker), now);
    time = std::min(time, since + absl::Seconds(aggregation.progress_seconds));
  }
  workers.SetAlarm(index, time);
}

void RoundMachine::State::Look(uint32_t index) {
  Worker& worker = workers[index];
  if (!worker.live) return;
  if (worker.calls.empty() && worker.lease_end <= now) {
    if (mutation == Mutation::kUnfoldAtExpiry && worker.contributed_to == round.serial) {
      for (const RoundMember& member : round.members) {
        if (member.incarnation == worker.incarnation) round.weight.Add(-member.weight);
      }
    }
    if (mutation == Mutation::kKeepExpecting && Expects(worker)) ++round.outstanding;
    return SetDead(index);
  }
  if (aggregation.progress_seconds > 0 &&
      OwesSince(worker) + absl::Seconds(aggregation.progress_seconds) <= now) {
    if (Expects(worker)) {
      ExpectNoLonger(worker);
      worker.stalled = true;
      ++num_stalled;
    }
    Uncount(worker);
  }
  SetAlarm(index);
}

void RoundMachine::State::EndCalls(Worker& worker, const absl::Status& status, Effects& effects) {
  for (const WaitingCall& call : worker.calls)
    effects.released.push_back({call.ticket, status, {}});
  num_waiting -= worker.calls.size();
  worker.calls.clear();
}

void RoundMachine::State::AnswerCalls(Worker& worker, const Answer& answer, Effects& effects) {
  if (worker.calls.empty()) return;
  worker.lease_end = std::max(worker.lease_end, LeaseEnd());  // it lived until now
  for (const WaitingCall& call : worker.calls) {
    Released& released = effects.released.emplace_back();
    released.ticket = call.ticket;
    released.answer = answer;
    released.answer.replayed = call.repeats;
  }
  num_waiting -= worker.calls.size();
  worker.calls.clear();
}

void RoundMachine::State::EndImpatientCalls(Worker& worker, Effects& effects) {
  const auto impatient =
      std::stable_partition(worker.calls.begin(), worker.calls.end(),
                            [](const WaitingCall& call) { return call.may_wait; });
  for (auto call = impatient; call != worker.calls.end(); ++call) {
    worker.lease_end = LeaseEnd();
    effects.released.push_back({call->ticket, {}, HeldAnswer(worker, call->repeats)});
    --num_waiting;
  }
  worker.calls.erase(impatient, worker.calls.end());
}

void RoundMachine::State::Resume(Worker& worker) {
  Count(worker);
  if (!worker.stalled) return;
  worker.stalled = false;
  --num_stalled;
  if (round.open) worker.excluded_from = round.serial;  // it froze without this one
}

void RoundMachine::State::Count(Worker& worker) {
  if (!bounded() || worker.counted || !worker.live || !worker.gradient) return;
  worker.clock = std::max(worker.clock, clocks.least());
  worker.counted = true;
  worker.progress_from = now;  // it owes from now on
  clocks.Add(worker.clock);
}

void RoundMachine::State::Uncount(Worker& worker) {
  if (!worker.counted) return;
  worker.counted = false;
  clocks.Remove(worker.clock);
}

void RoundMachine::State::Advance(Worker& worker) {
  worker.progress_from = now;
  if (!bounded()) return;
  if (worker.counted) {
    clocks.Add(worker.clock + 1);
    clocks.Remove(worker.clock);
  }
  ++worker.clock;
}

bool RoundMachine::State::IsAhead(const Worker& worker) const {
  if (!bounded() || clocks.empty()) return false;
  const uint64_t allowed =
      aggregation.max_rounds_ahead + (mutation == Mutation::kLooseBound ? 1 : 0);
  return worker.clock > clocks.least() && worker.clock - clocks.least() > allowed;
}

void RoundMachine::State::Hold(uint32_t index) {
  Worker& worker = workers[index];
  worker.held = true;
  held[worker.clock].push_back(index);
}

void RoundMachine::State::LetGo(Effects& effects) {
  while (!held.empty()) {
    std::vector<uint32_t>& least = held.begin()->second;
    while (!least.empty()) {
      Worker& worker = workers[least.back()];
      // One that has moved on since stands elsewhere, or nowhere.
      if (worker.held && worker.clock == held.begin()->first) {
        if (IsAhead(worker)) return;
        worker.held = false;
        worker.progress_from = now;
        AnswerCalls(worker, SettledAnswer(worker, false), effects);
      }
      least.pop_back();
    }
    held.erase(held.begin());
  }
}

void RoundMachine::State::On(const Join& join, Effects& effects) {
  uint32_t index = workers.Find(join.worker);
  const bool is_new = index == WorkerTable::kNone || workers[index].left;
  const size_t num_workers = workers.size() - num_left;
  if (is_new && num_workers >= aggregation.worker_limit() && !DropExpiredWorker()) {
    effects.status = MakeError(Reason::kTooManyWorkers,
                               absl::StrCat("the session has ", num_workers,
                                            " workers, allowed: ", aggregation.worker_limit()));
    return;
  }
  if (index == WorkerTable::kNone) {
    index = workers.Insert(join.worker);
  } else {
    Worker& older = workers[index];
    TALWEG_CHECK(older.incarnation < join.incarnation);
    SetDead(index);
    EndCalls(older,
             MakeError(Reason::kIncarnationFenced,
                       absl::StrCat("incarnation ", older.incarnation, " of worker \"", join.worker,
                                    "\" was replaced by incarnation ", join.incarnation)),
             effects);
    if (older.left) --num_left;
  }
  Worker& worker = workers[index];
  Worker fresh;
  fresh.name = join.worker;
  fresh.incarnation = join.incarnation;
  fresh.gradient = join.roles.Has(Role::kGradient);
  fresh.contributed_to = worker.contributed_to;
  fresh.alarm = worker.alarm;
  fresh.lease_end = LeaseEnd();
  worker = std::move(fresh);
  SetLive(index);
  CloseIfDue(effects);
  LetGo(effects);
}

bool RoundMachine::State::DropExpiredWorker() {
  uint32_t oldest = WorkerTable::kNone;
  workers.ForEach([&](uint32_t index) {
    const Worker& worker = workers[index];
    if (worker.live || worker.left) return;
    if (oldest == WorkerTable::kNone || worker.lease_end < workers[oldest].lease_end ||
        (worker.lease_end == workers[oldest].lease_end && worker.name < workers[oldest].name)) {
      oldest = index;
    }
  });
  if (oldest == WorkerTable::kNone) return false;
  Drop(oldest);
  return true;
}

void RoundMachine::State::Drop(uint32_t index) {
  if (workers[index].contributed_to != round.serial) return Forget(index);
  workers[index].left = true;
  ++num_left;
}

void RoundMachine::State::Forget(uint32_t index) {
  if (workers[index].left) --num_left;
  workers.Erase(index);
}

void RoundMachine::State::On(const Heartbeat& heartbeat, Effects& effects) {
  effects.status = FindWorker(heartbeat.history, heartbeat.worker, heartbeat.incarnation).status();
}

void RoundMachine::State::On(const Leave& leave, Effects& effects) {
  const absl::StatusOr<uint32_t> found = FindWorker(leave.history, leave.worker, leave.incarnation);
  effects.status = found.status();
  if (!found.ok()) return;
  Worker& worker = workers[*found];
  SetDead(*found);
  EndCalls(
      worker,
      MakeError(Reason::kWorkerNotJoined, absl::StrCat("worker \"", leave.worker, "\" has left")),
      effects);
  Drop(*found);
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::State::On(const CallEnded& ended, Effects& effects) {
  const uint32_t index = workers.Find(ended.worker);
  if (index == WorkerTable::kNone) return;
  Worker& worker = workers[index];
  const auto found =
      std::find_if(worker.calls.begin(), worker.calls.end(),
                   [&](const WaitingCall& call) { return call.ticket == ended.ticket; });
  if (found == worker.calls.end()) return;
  worker.calls.erase(found);
  --num_waiting;
  worker.lease_end = LeaseEnd();  // it lived until now
  (void)effects;
}

void RoundMachine::State::On(const Tick& /*tick*/, Effects& effects) {
  for (uint32_t index = workers.TakeDue(now); index != WorkerTable::kNone;
       index = workers.TakeDue(now)) {
    Look(index);
  }
  CloseIfDue(effects);
  LetGo(effects);
}

}  // namespace talweg::core
