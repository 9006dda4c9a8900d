// SPDX-License-Identifier: Apache-2.0
//
// What becomes of statistics that come without a gradient, and of inverses that are ready.
#include "core/rounds/statistics.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/reasons.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {

void OpenStatistics::Add(const Contribution& contribution, absl::Time now) {
  members.push_back({contribution.worker, contribution.incarnation, contribution.sequence,
                     contribution.base_version, contribution.num_samples, now});
  places.push_back({contribution.digest, contribution.is_statistics});
  num_samples += contribution.num_samples;
}

void RoundMachine::AcceptStatistics(const Contribution& contribution, Effects& effects) {
  effects.takes_statistics = true;
  statistics_.Add(contribution, now_);
}

void RoundMachine::JudgeStatistics(uint32_t index, const Contribution& contribution,
                                   Effects& effects) {
  Worker& worker = workers_[index];
  // A call that still waits for an older contribution is told how that one stands.
  if (!worker.calls.empty()) {
    AnswerCalls(
        worker,
        worker.held ? SettledAnswer(worker, false) : PendingAnswer(worker, version_ + 1, false),
        effects);
  }
  if (!contribution.finite) {
    Conclude(worker, contribution.sequence, contribution.digest, Verdict::kRejectedNonFinite,
             effects);
    effects.answer = SettledAnswer(worker, false);
    return;
  }
  AcceptStatistics(contribution, effects);
  if (mutation_ == Mutation::kCountStatisticsTwice) statistics_.Add(contribution, now_);
  worker.pending = {contribution.sequence, contribution.digest, /*will_not_count=*/false,
                    /*abstains=*/false, /*is_statistics=*/true};
  effects.answer = PendingAnswer(worker, version_ + 1, false);
}

void RoundMachine::SettleStatistics(const StatisticsMember& member, uint32_t digest,
                                    Effects& effects) {
  const uint32_t index = workers_.table().Find(member.worker);
  if (index == Workers::kNone) return;
  Worker& worker = workers_[index];
  // The worker may have gone or joined anew meanwhile. Then nobody can repeat this sequence.
  if (worker.left || worker.incarnation != member.incarnation) return;
  if (member.sequence > worker.settled.sequence) {
    worker.settled = {member.sequence, version_, last_step_, digest, Verdict::kApplied};
  }
  if (worker.pending.sequence == member.sequence) {
    worker.pending = {};
    AnswerCalls(worker, SettledAnswer(worker, false), effects);
  }
}

void RoundMachine::On(const InversesReady& ready, Effects& effects) {
  const uint64_t version = version_ + (mutation_ == Mutation::kInstallForOtherVersion ? 2 : 1);
  statistics_.installed_inverses = ready.factors_version;
  effects.durable.emplace_back(InversesInstalled{ready.factors_version, version});
}

}  // namespace talweg::core
