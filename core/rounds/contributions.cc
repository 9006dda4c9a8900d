// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a contribution: a repeat, an error, a refusal, an abstention, a part of the
// round, or a worker that stands by until the round closes.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/rounds/round_machine.h"

namespace talweg::core {
namespace {

absl::StatusOr<Remembered> RecallUnless(Mutation mutation, const Worker& worker,
                                        const Contribution& contribution) {
  const bool is_pending = contribution.sequence == worker.pending.sequence;
  if (mutation == Mutation::kForgetReplies && !is_pending) return Remembered::kNothing;
  if (mutation == Mutation::kCountDuplicate && is_pending) return Remembered::kNothing;
  return Recall(worker, contribution.sequence, contribution.digest);
}

// The verdict that refuses a contribution, if `policy` wants it refused.
std::optional<Verdict> Refusal(const PolicyInForce& policy, const Worker& worker,
                               const Contribution& contribution, uint64_t staleness) {
  const uint64_t allowed = policy.aggregation().max_staleness;
  const bool limited = !policy.bounded() || allowed > 0;
  if (limited && staleness > allowed && !contribution.abstains) {
    return allowed == 0 && policy.aggregation().synchronous() ? Verdict::kRoundClosed
                                                              : Verdict::kTooStale;
  }
  if (!contribution.finite) return Verdict::kRejectedNonFinite;
  if (worker.held) return Verdict::kRoundClosed;
  return std::nullopt;
}

}  // namespace

void RoundMachine::On(const Contribution& contribution, Effects& effects) {
  TALWEG_CHECK(!closed_.has_value());
  const absl::StatusOr<uint32_t> found =
      Find(contribution.history, contribution.worker, contribution.incarnation);
  if (!found.ok()) {
    effects.status = found.status();
    return;
  }
  const Worker& worker = workers_[*found];
  const bool lacks_gradients = !contribution.is_statistics && !worker.gives_gradients();
  if (lacks_gradients || (contribution.num_samples > 0 && !worker.roles.Has(Role::kStatistics))) {
    effects.status =
        MakeError(Reason::kRoleMissing,
                  absl::StrCat("worker \"", contribution.worker, "\" did not join to contribute ",
                               lacks_gradients ? "gradients" : "statistics"));
    return;
  }
  const absl::StatusOr<Remembered> remembered = RecallUnless(mutation_, worker, contribution);
  if (!remembered.ok()) {
    effects.status = remembered.status();
    return;
  }
  if (*remembered != Remembered::kNothing) {
    return Repeat(*found, contribution, *remembered, effects);
  }
  if (contribution.base_version > version_) {
    effects.status = MakeError(Reason::kVersionAhead,
                               absl::StrCat("base version ", contribution.base_version,
                                            " is newer than the session, which is at ", version_),
                               "header.base_version");
    return;
  }
  if (contribution.closes_round && !closing().takes_closing()) {
    effects.status = MakeError(Reason::kFieldOutOfRange,
                               "the session's policy lets no worker close a round: "
                               "aggregation.workers_may_close is false",
                               "header.closes_round");
    return;
  }
  if (contribution.num_samples > 0 && statistics_.IsFull()) {
    effects.status =
        MakeError(Reason::kMemoryQuota,
                  absl::StrCat("version ", version_ + 1, " has ", OpenStatistics::kMaxMembers,
                               " statistics already, and takes no more"));
    return;
  }
  if (contribution.is_statistics) return JudgeStatistics(*found, contribution, effects);
  Judge(*found, contribution, effects);
}

void RoundMachine::Repeat(uint32_t index, const Contribution& contribution, Remembered remembered,
                          Effects& effects) {
  Worker& worker = workers_[index];
  if (remembered == Remembered::kSettled && contribution.is_statistics) {
    // Nobody waits for statistics, even if the worker itself is held.
    effects.answer = SettledAnswer(worker, true);
    return;
  }
  if (remembered == Remembered::kSettled) return TellSettled(index, contribution, true, effects);
  if (aggregation().synchronous() && contribution.may_wait && !worker.pending.is_statistics) {
    Wait(worker, contribution, true, effects);
    effects.will_not_count = worker.pending.will_not_count;
  } else {
    effects.answer = PendingAnswer(worker, version_ + 1, true);
  }
}

void RoundMachine::Judge(uint32_t index, const Contribution& contribution, Effects& effects) {
  Worker& worker = workers_[index];
  clocks_.Count(worker, now_);
  expectations_.Resume(worker);
  // A call that still waits for an older contribution is told how that one stands.
  if (!worker.calls.empty()) {
    AnswerCalls(
        worker,
        worker.held ? SettledAnswer(worker, false) : PendingAnswer(worker, version_ + 1, false),
        effects);
  }
  const uint64_t staleness = version_ - contribution.base_version;
  const std::optional<Verdict> refusal = Refusal(policy_, worker, contribution, staleness);
  if (refusal.has_value()) return Settle(index, contribution, *refusal, effects);
  const bool contributed_already =
      expectations_.HasContributed(worker) && mutation_ != Mutation::kCountDuplicate;
  const bool full = contribution.abstains
                        ? round_.abstainers.size() >= AggregationConfig::kMaxWorkers
                        : round_.IsFull(aggregation());
  if (aggregation().synchronous() && (contributed_already || full)) {
    return StandBy(index, contribution, effects);
  }
  if (contribution.abstains) return Abstain(index, contribution, effects);
  Accept(index, contribution, staleness, effects);
}

void RoundMachine::Settle(uint32_t index, const Contribution& contribution, Verdict verdict,
                          Effects& effects) {
  Worker& worker = workers_[index];
  Conclude(worker, contribution.sequence, contribution.digest, verdict, effects);
  // A worker whose gradient was too old is told the version to go on from, and is still waited for:
  // if each round closed while it takes the gradient of the last, it would come too late for all of
  // them. But it is waited for only once.
  const bool waited_for = verdict != Verdict::kRejectedNonFinite && expectations_.Expects(worker) &&
                          expectations_.IsFirstOutdated(worker);
  if (!waited_for) expectations_.ReleaseLate(worker);
  clocks_.Advance(worker);
  worker.held = false;
  if (clocks_.IsAhead(worker, RoundsAhead())) clocks_.Hold(index, worker);
  TellSettled(index, contribution, false, effects);
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::StandBy(uint32_t index, const Contribution& contribution, Effects& effects) {
  Worker& worker = workers_[index];
  expectations_.Release(worker);
  worker.pending = {contribution.sequence, contribution.digest, /*will_not_count=*/true};
  round_.AddBystander(index, workers_.table());
  if (contribution.may_wait) {
    Wait(worker, contribution, false, effects);
    effects.will_not_count = true;
  } else {
    effects.answer = PendingAnswer(worker, version_ + 1, false);
  }
  CloseIfDue(effects);
}

void RoundMachine::Abstain(uint32_t index, const Contribution& contribution, Effects& effects) {
  Worker& worker = workers_[index];
  round_.NoteAbstention(worker.name);
  const bool closes = contribution.closes_round && !round_.members.empty();
  // Where no round waits for a worker there is nothing to wait for, except a step.
  if (!aggregation().synchronous() && (!closes || policy_.bounded())) {
    return Settle(index, contribution, Verdict::kAbstained, effects);
  }
  if (mutation_ != Mutation::kExpectAbstainer) expectations_.Contributed(worker, version_ + 1);
  worker.pending = {contribution.sequence, contribution.digest, /*will_not_count=*/false,
                    /*abstains=*/true};
  round_.abstainers.push_back({index, worker.incarnation});
  round_.asked_to_close |= contribution.closes_round;
  CloseIfDue(effects);
  if (worker.pending.sequence == 0) {  // The round dissolved.
    TellSettled(index, contribution, false, effects);
  } else if (effects.step.has_value() || contribution.may_wait) {
    Wait(worker, contribution, false, effects);
  } else {
    effects.answer = PendingAnswer(worker, version_ + 1, false);
  }
}

void RoundMachine::Accept(uint32_t index, const Contribution& contribution, uint64_t staleness,
                          Effects& effects) {
  Worker& worker = workers_[index];
  effects.fold = true;
  effects.weight = OpenRound::WeightOf(contribution, staleness, aggregation());
  expectations_.Contributed(worker, version_ + 1);
  worker.pending = {contribution.sequence, contribution.digest, /*will_not_count=*/false};
  if (contribution.num_samples > 0) AcceptStatistics(contribution, effects);
  round_.Add(index, contribution, effects.weight, staleness, aggregation().reduction, now_);
  CloseIfDue(effects);
  // A round of one takes the gradient as it is.
  if (effects.step.has_value() && effects.step->contributors == 1) effects.fold = false;
  if (effects.step.has_value() || (contribution.may_wait && aggregation().synchronous())) {
    Wait(worker, contribution, false, effects);
  } else {
    effects.answer = PendingAnswer(worker, version_ + 1, false);
  }
}

void RoundMachine::TellSettled(uint32_t index, const Contribution& contribution, bool replayed,
                               Effects& effects) {
  Worker& worker = workers_[index];
  if (!worker.held) {
    effects.answer = SettledAnswer(worker, replayed);
    Advise(worker, *effects.answer);
  } else if (contribution.may_wait) {
    Wait(worker, contribution, replayed, effects);
    effects.will_not_count = HeldAnswer(worker, replayed).will_not_count;
  } else {
    effects.answer = HeldAnswer(worker, replayed);
  }
}

void RoundMachine::Advise(const Worker& worker, Answer& answer) const {
  const bool is_old =
      answer.verdict == Verdict::kRoundClosed || answer.verdict == Verdict::kTooStale;
  if (!is_old) return;
  const bool has_missed = aggregation().synchronous() && version_ > worker.part_of_version;
  if (has_missed) answer.missed_rounds = version_ - worker.part_of_version;
  if (worker.lease_ended) {
    answer.advice = Advice::kSendHeartbeats;
  } else if (has_missed) {
    answer.advice = Advice::kBeFaster;
  } else if (answer.verdict == Verdict::kTooStale) {
    answer.advice = Advice::kAllowStaleness;
  }
}

void RoundMachine::Wait(Worker& worker, const Contribution& contribution, bool repeats,
                        Effects& effects) {
  workers_.calls().Add(worker, {contribution.ticket, repeats, contribution.may_wait});
  effects.waits = true;
}

}  // namespace talweg::core
