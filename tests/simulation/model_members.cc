// SPDX-License-Identifier: Apache-2.0
//
// Which workers are there, for how long, how far ahead, and which calls wait.
#include <algorithm>
#include <utility>

#include "tests/simulation/model.h"

namespace talweg::simulation {

Nanoseconds Model::Lease() const {
  return static_cast<Nanoseconds>(settings_.policy.lease_seconds) * kSecond;
}

std::string Model::Identify(uint64_t history, uint32_t worker, uint64_t incarnation) {
  if (history != history_) return "HISTORY_CHANGED";
  Member& member = members_[worker];
  if (!member.joined || incarnation > member.incarnation) return "WORKER_NOT_JOINED";
  if (incarnation < member.incarnation) return "INCARNATION_FENCED";
  member.lease_end = now_ + Lease();
  Revive(worker);
  return "";
}

// Alive, whatever it was before.
void Model::Revive(uint32_t worker) {
  Member& member = members_[worker];
  if (!member.live) {
    member.live = true;
    member.progress_from = now_;
    ++num_live_;
    if (member.gradient) ++num_live_gradient_;
    Enter(worker);
  }
  SetAlarm(worker);
}

void Model::Kill(uint32_t worker) {
  Member& member = members_[worker];
  if (!member.live) return;
  EndExpectation(worker);
  LeaveClocks(worker);
  member.live = member.stalled = false;
  --num_live_;
  if (member.gradient) --num_live_gradient_;
}

bool Model::Expects(const Member& member) const {
  return frozen_ && !step_open_ && member.expected_in == round_;
}

void Model::EndExpectation(uint32_t worker) {
  if (!Expects(members_[worker])) return;
  members_[worker].expected_in = 0;
  --num_outstanding_;
}

// --- Clocks.

void Model::Enter(uint32_t worker) {
  Member& member = members_[worker];
  if (!bounded() || member.in_clocks || !member.live || !member.gradient) return;
  member.clock = std::max(member.clock, LeastClock());
  member.in_clocks = true;
  member.progress_from = now_;  // it owes from now on
  ++clocks_[member.clock];
  highest_clock_ = std::max(highest_clock_, member.clock);
  SetAlarm(worker);
}

void Model::LeaveClocks(uint32_t worker) {
  Member& member = members_[worker];
  if (!member.in_clocks) return;
  member.in_clocks = false;
  if (--clocks_[member.clock] > 0) return;
  clocks_.erase(member.clock);
}

uint64_t Model::LeastClock() const {
  return clocks_.empty() ? highest_clock_ : clocks_.begin()->first;
}

void Model::Resume(uint32_t worker) {
  Enter(worker);
  members_[worker].stalled = false;
}

void Model::Advance(uint32_t worker) {
  Member& member = members_[worker];
  member.progress_from = now_;
  if (!bounded()) return;
  if (member.in_clocks) {
    ++clocks_[member.clock + 1];
    highest_clock_ = std::max(highest_clock_, member.clock + 1);
    if (--clocks_[member.clock] == 0) clocks_.erase(member.clock);
  }
  ++member.clock;
}

uint64_t Model::Lead(uint32_t worker) const {
  const uint64_t clock = members_[worker].clock;
  return clock - std::min(clock, LeastClock());
}

bool Model::IsAhead(const Member& member) const {
  return bounded() && !clocks_.empty() &&
         member.clock > clocks_.begin()->first + settings_.policy.max_rounds_ahead;
}

void Model::Hold(uint32_t worker) {
  members_[worker].held = true;
  held_.emplace(members_[worker].clock, worker);
}

void Model::Unhold(uint32_t worker) {
  if (!members_[worker].held) return;
  members_[worker].held = false;
  held_.erase({members_[worker].clock, worker});
}

void Model::LetGo(Expected& expected) {
  while (!held_.empty() && !IsAhead(members_[held_.begin()->second])) {
    const uint32_t worker = held_.begin()->second;
    Unhold(worker);
    members_[worker].progress_from = now_;
    AnswerCalls(worker, FinalAnswer(members_[worker], false), expected);
    SetAlarm(worker);
  }
}

// --- Calls.

void Model::Wait(uint32_t worker, const core::Contribution& contribution, bool repeats,
                 Expected& expected) {
  members_[worker].calls.push_back({contribution.ticket, repeats, contribution.may_wait});
  tickets_[contribution.ticket] = worker;
  expected.waits = true;
}

void Model::AnswerCalls(uint32_t worker, const core::Answer& answer, Expected& expected) {
  Member& member = members_[worker];
  if (member.calls.empty()) return;
  for (const Call& call : member.calls) {
    core::Answer own = answer;
    own.replayed = call.repeats;
    expected.released.push_back({call.ticket, "", own});
    tickets_.erase(call.ticket);
  }
  member.calls.clear();
  // The call was a sign of life until now.
  member.lease_end = std::max(member.lease_end, now_ + Lease());
  SetAlarm(worker);
}

void Model::EndImpatientCalls(uint32_t worker, Expected& expected) {
  Member& member = members_[worker];
  std::vector<Call> patient;
  for (const Call& call : member.calls) {
    if (call.may_wait) {
      patient.push_back(call);
      continue;
    }
    expected.released.push_back({call.ticket, "", HeldAnswer(member, call.repeats)});
    tickets_.erase(call.ticket);
    member.lease_end = now_ + Lease();
  }
  member.calls = std::move(patient);
}

void Model::EndCalls(uint32_t worker, const std::string& error, Expected& expected) {
  for (const Call& call : members_[worker].calls) {
    expected.released.push_back({call.ticket, error, {}});
    tickets_.erase(call.ticket);
  }
  members_[worker].calls.clear();
}

std::optional<uint32_t> Model::WorkerOfTicket(uint64_t ticket) const {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return std::nullopt;
  return found->second;
}

// --- What is due.

Nanoseconds Model::Due(const Member& member) const {
  if (!member.joined || !member.live) return kNever;
  Nanoseconds due = member.calls.empty() ? member.lease_end : kNever;
  if (closing_.policy.progress_seconds > 0) {
    const Nanoseconds patience = Seconds(closing_.policy.progress_seconds);
    if (member.in_clocks && !member.held) due = std::min(due, member.progress_from + patience);
    if (Expects(member)) {
      due = std::min(due, std::max(member.progress_from, frozen_at_) + patience);
    }
  }
  return due;
}

void Model::SetAlarm(uint32_t worker) {
  Member& member = members_[worker];
  const Nanoseconds due = Due(member);
  if (due >= member.alarm) return;
  member.alarm = due;
  alarms_.emplace(due, worker);
}

Nanoseconds Model::NextDue() {
  // A change of the policy, or a worker that came back, may have made this possible.
  const bool lets_go = num_live_ > 0 && !held_.empty() && !IsAhead(members_[held_.begin()->second]);
  const bool is_due = IsDue() || Dissolves() || AbstainersMayGo();
  Nanoseconds next = MayFreeze() || lets_go || is_due ? now_ : kNever;
  while (!alarms_.empty()) {
    const auto [time, worker] = alarms_.top();
    Member& member = members_[worker];
    if (time == member.alarm) {
      const Nanoseconds due = Due(member);
      if (due <= time) {
        next = std::min(next, time);
        break;
      }
      member.alarm = kNever;
    }
    alarms_.pop();
    SetAlarm(worker);
  }
  const core::AggregationConfig& policy = closing_.policy;
  if (frozen_ && !step_open_ && !counted_.empty() && policy.close == core::CloseRule::kDeadline) {
    next = std::min(next, counted_.front().time + Seconds(policy.close_seconds));
  }
  return next;
}

Expected Model::On(const core::Tick& /*tick*/) {
  Expected expected;
  while (!alarms_.empty() && alarms_.top().first <= now_) {
    const auto [time, worker] = alarms_.top();
    alarms_.pop();
    Member& member = members_[worker];
    if (time != member.alarm) continue;
    member.alarm = kNever;
    if (Due(member) <= now_) {
      if (member.calls.empty() && member.lease_end <= now_) {
        Kill(worker);
      } else {
        member.stalled |= Expects(member);
        EndExpectation(worker);
        LeaveClocks(worker);
      }
    }
    SetAlarm(worker);
  }
  Settle(expected);
  return expected;
}

// --- Coming and going.

Expected Model::On(const core::Join& join) {
  Expected expected;
  const uint32_t worker = WorkerOf(join.worker);
  Member& member = members_[worker];
  if (join.nonce != 0 && member.joined && join.nonce == member.nonce) {
    // Once more the same join: nothing but a sign of life.
    expected.error = Identify(history_, worker, member.incarnation);
    expected.incarnation = member.incarnation;
    return expected;
  }
  if (join.nonce != 0 && member.joined && join.nonce == member.nonce_before) {
    expected.error = "INCARNATION_FENCED";
    return expected;
  }
  if (!member.joined && num_joined_ >= settings_.policy.worker_limit() && !MakeRoom()) {
    expected.error = "TOO_MANY_WORKERS";
    return expected;
  }
  if (member.joined) {
    Kill(worker);
    Unhold(worker);
    EndCalls(worker, "INCARNATION_FENCED", expected);
    --num_joined_;
  }
  Member fresh;
  fresh.joined = true;
  fresh.incarnation = expected.incarnation = join.incarnation;
  fresh.nonce = join.nonce;
  if (member.joined) fresh.nonce_before = member.nonce != 0 ? member.nonce : member.nonce_before;
  fresh.gradient = join.roles.Has(core::Role::kGradient);
  fresh.contributed = member.contributed;
  fresh.expected_at_open = member.expected_at_open;
  fresh.alarm = member.alarm;
  fresh.lease_end = now_ + Lease();
  member = std::move(fresh);
  ++num_joined_;
  Revive(worker);
  Settle(expected);
  return expected;
}

// Of the workers that expired, the one that has been silent for longest.
bool Model::MakeRoom() {
  std::optional<uint32_t> oldest;
  for (uint32_t worker = 0; worker < members_.size(); ++worker) {
    const Member& member = members_[worker];
    if (!member.joined || member.live) continue;
    if (!oldest.has_value() || member.lease_end < members_[*oldest].lease_end) oldest = worker;
  }
  if (!oldest.has_value()) return false;
  Remove(*oldest);
  return true;
}

// Its place in the open round stays taken: it counts once, whatever it is called next.
void Model::Remove(uint32_t worker) {
  Unhold(worker);
  Member& member = members_[worker];
  Member gone;
  gone.contributed = member.contributed;
  gone.expected_at_open = member.expected_at_open;
  gone.alarm = member.alarm;
  member = std::move(gone);
  --num_joined_;
}

Expected Model::On(const core::Heartbeat& heartbeat) {
  Expected expected;
  expected.error = Identify(heartbeat.history, WorkerOf(heartbeat.worker), heartbeat.incarnation);
  return expected;
}

Expected Model::On(const core::Leave& leave) {
  Expected expected;
  const uint32_t worker = WorkerOf(leave.worker);
  expected.error = Identify(leave.history, worker, leave.incarnation);
  if (!expected.error.empty()) return expected;
  Kill(worker);
  EndCalls(worker, "WORKER_NOT_JOINED", expected);
  Remove(worker);
  Settle(expected);
  return expected;
}

Expected Model::On(const core::CallEnded& ended) {
  const uint32_t worker = WorkerOf(ended.worker);
  Member& member = members_[worker];
  const auto found = std::find_if(member.calls.begin(), member.calls.end(),
                                  [&](const Call& call) { return call.ticket == ended.ticket; });
  if (found == member.calls.end()) return {};
  member.calls.erase(found);
  tickets_.erase(ended.ticket);
  member.lease_end = now_ + Lease();
  SetAlarm(worker);
  return {};
}

}  // namespace talweg::simulation
