// SPDX-License-Identifier: Apache-2.0
//
// Workers that come, live and go: joins, leases, progress, and what becomes of their calls.
#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/rounds/closing_rule.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {

absl::Time RoundMachine::LeaseEnd() const {
  return now_ + absl::Seconds(static_cast<int64_t>(aggregation().lease_seconds));
}

absl::StatusOr<uint32_t> RoundMachine::Find(uint64_t history, const std::string& name,
                                            uint64_t incarnation) {
  if (mutation_ != Mutation::kIgnoreHistory) TALWEG_RETURN_IF_ERROR(CheckHistory(history));
  const uint32_t index = workers_.Find(name);
  Worker* const worker = index == Workers::kNone ? nullptr : &workers_[index];
  const bool unfenced = mutation_ == Mutation::kIgnoreFencing && worker != nullptr &&
                        !worker->left && incarnation < worker->incarnation;
  if (!unfenced) TALWEG_RETURN_IF_ERROR(CheckIncarnation(worker, name, incarnation));
  worker->lease_end = LeaseEnd();
  BeginToLive(index);
  return index;
}

void RoundMachine::BeginToLive(uint32_t index) {
  Worker& worker = workers_[index];
  if (leases_.Begin(worker)) {
    expectations_.Exclude(worker);
    worker.progress_from = now_;
    clocks_.Count(worker, now_);
  }
  SetAlarm(index);
  // Only a tick opens a round for a worker that comes back.
  if (MayFreeze(closing_, round_, expectations_, version_, num_live_gradient())) {
    workers_.SetAlarm(index, now_);
  }
}

void RoundMachine::CeaseToLive(uint32_t index) {
  Worker& worker = workers_[index];
  expectations_.Gone(worker);
  clocks_.Uncount(worker);
  leases_.End(worker);
}

void RoundMachine::SetAlarm(uint32_t index) {
  const Worker& worker = workers_[index];
  absl::Time time = Leases::EarliestEnd(worker, LeaseEnd());
  if (closing_.progress_seconds > 0) {
    // A worker that owes nothing yet may start to owe now, so count from now.
    const absl::Time since = std::min(expectations_.OwesSince(worker), now_);
    time = std::min(time, since + absl::Seconds(closing_.progress_seconds));
  }
  workers_.SetAlarm(index, time);
}

bool RoundMachine::MadeNoProgress(const Worker& worker) const {
  const double seconds = closing_.progress_seconds;
  return seconds > 0 && expectations_.OwesSince(worker) + absl::Seconds(seconds) <= now_;
}

void RoundMachine::Look(uint32_t index) {
  Worker& worker = workers_[index];
  if (!worker.live) return;
  if (Leases::IsOver(worker, now_)) {
    if (mutation_ == Mutation::kUnfoldAtExpiry && expectations_.HasContributed(worker)) {
      round_.Unfold(worker.incarnation);
    }
    if (mutation_ == Mutation::kKeepExpecting && expectations_.Expects(worker)) {
      expectations_.CountOneMore();
    }
    return CeaseToLive(index);
  }
  if (MadeNoProgress(worker)) {
    if (expectations_.Expects(worker)) expectations_.Stall(worker);
    clocks_.Uncount(worker);
  }
  SetAlarm(index);
}

void RoundMachine::AnswerCalls(Worker& worker, const Answer& answer, Effects& effects) {
  calls_.AnswerAll(worker, answer, LeaseEnd(), effects.released);
}

void RoundMachine::On(const Join& join, Effects& effects) {
  effects.status = MakeRoom(workers_, join.worker, aggregation().worker_limit(),
                            [this](uint32_t expired) { Remove(expired); });
  if (!effects.status.ok()) return;
  uint32_t index = workers_.Find(join.worker);
  uint64_t contributed_to = 0;
  if (index == Workers::kNone) {
    index = workers_.Insert(join.worker);
  } else {
    Worker& older = workers_[index];
    TALWEG_CHECK(older.incarnation < join.incarnation);
    CeaseToLive(index);
    calls_.FailAll(older, ReplacedError(older, join.incarnation), effects.released);
    contributed_to = older.contributed_to;
  }
  Worker& worker = workers_.Reset(index);
  worker.incarnation = join.incarnation;
  worker.roles = join.roles;
  worker.contributed_to = contributed_to;
  worker.lease_end = LeaseEnd();
  effects.durable.emplace_back(MemberAdmitted{join.worker, join.incarnation, join.roles});
  BeginToLive(index);
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::Remove(uint32_t index) {
  if (expectations_.HasContributed(workers_[index])) return workers_.KeepPlace(index);
  workers_.Erase(index);
}

void RoundMachine::On(const Heartbeat& heartbeat, Effects& effects) {
  effects.status = Find(heartbeat.history, heartbeat.worker, heartbeat.incarnation).status();
}

void RoundMachine::On(const Leave& leave, Effects& effects) {
  const absl::StatusOr<uint32_t> found = Find(leave.history, leave.worker, leave.incarnation);
  effects.status = found.status();
  if (!found.ok()) return;
  CeaseToLive(*found);
  calls_.FailAll(workers_[*found], LeftError(leave.worker), effects.released);
  Remove(*found);
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::On(const CallEnded& ended, Effects& /*effects*/) {
  const uint32_t index = workers_.Find(ended.worker);
  if (index != Workers::kNone) calls_.Forget(workers_[index], ended.ticket, LeaseEnd());
}

}  // namespace talweg::core
