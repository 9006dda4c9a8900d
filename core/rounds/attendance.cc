// SPDX-License-Identifier: Apache-2.0
//
// Workers that come, live and go, and what that means for the open round.
#include <algorithm>

#include "core/base/status_macros.h"
#include "core/rounds/closing_rule.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {

absl::StatusOr<uint32_t> RoundMachine::Find(uint64_t history, const std::string& name,
                                            uint64_t incarnation) {
  if (mutation_ != Mutation::kIgnoreHistory) TALWEG_RETURN_IF_ERROR(CheckHistory(history));
  if (mutation_ == Mutation::kIgnoreFencing) {
    const uint32_t newest = workers_.table().Find(name);
    if (newest != Workers::kNone && !workers_[newest].left) {
      incarnation = std::max(incarnation, workers_[newest].incarnation);
    }
  }
  absl::StatusOr<uint32_t> index = workers_.FindAndRenew(name, incarnation, Rules());
  if (index.ok()) AskForOpening(*index);
  return index;
}

void RoundMachine::AskForOpening(uint32_t index) {
  if (MayFreeze(closing(), round_, expectations_, version_, num_live_gradient())) {
    workers_.LookAt(index, now_);
  }
}

void RoundMachine::On(const Join& join, Effects& effects) {
  Join admitted_as = join;
  if (mutation_ == Mutation::kIgnoreNonce) admitted_as.nonce = 0;
  const absl::StatusOr<uint32_t> admitted =
      workers_.Admit(admitted_as, aggregation().worker_limit(), Rules(), effects.released);
  effects.status = admitted.status();
  if (!admitted.ok()) return;
  AskForOpening(*admitted);
  Worker& worker = workers_[*admitted];
  if (worker.part_of_version == 0) worker.part_of_version = version_;
  effects.incarnation = worker.incarnation;
  if (effects.incarnation != admitted_as.incarnation) return;  // It was a repeat.
  effects.durable.emplace_back(MemberAdmitted{admitted_as.worker, admitted_as.incarnation,
                                              admitted_as.roles, admitted_as.nonce});
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::On(const Heartbeat& heartbeat, Effects& effects) {
  effects.status = Find(heartbeat.history, heartbeat.worker, heartbeat.incarnation).status();
}

void RoundMachine::On(const Leave& leave, Effects& effects) {
  const absl::StatusOr<uint32_t> found = Find(leave.history, leave.worker, leave.incarnation);
  effects.status = found.status();
  if (!found.ok()) return;
  workers_.Leave(*found, Rules(), effects.released);
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::On(const CallEnded& ended, Effects& /*effects*/) {
  workers_.ForgetCall(ended, Rules());
}

}  // namespace talweg::core
