// SPDX-License-Identifier: Apache-2.0
//
// Events in, effects out; when a version is made, and what follows from it.
#include "core/rounds/round_machine.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "core/base/check.h"
#include "core/rounds/closing_rule.h"

namespace talweg::core {

RoundMachine::RoundMachine(uint64_t history, const Configure& configuration)
    : history_(history), policy_(configuration), clocks_(policy_.bounded()) {
  TALWEG_CHECK(history != 0);
}

Effects RoundMachine::Handle(const Event& event, absl::Time now) {
  now_ = std::max(now_, now);
  Effects effects;
  std::visit([&](const auto& typed) { On(typed, effects); }, event);
  if (mutation_ == Mutation::kDropAnswer && effects.released.size() > 1) {
    effects.released.pop_back();
  }
  return effects;
}

absl::Time RoundMachine::NextTick() const {
  // The round may be due already: the worker that was missing had expired, and came back.
  if (!closed_.has_value() && IsDue(closing(), round_, expectations_, now_)) return now_;
  absl::Time next = std::min(workers_.NextLook(), CloseDeadline(closing(), round_, expectations_));
  if (mutation_ == Mutation::kOversleep) next += absl::Seconds(1);
  return next;
}

void RoundMachine::SwitchOn(Mutation mutation) { mutation_ = mutation; }

void RoundMachine::On(const Tick& /*tick*/, Effects& effects) {
  workers_.Look(Rules());
  CloseIfDue(effects);
  LetGo(effects);
}

void RoundMachine::CloseIfDue(Effects& effects) {
  if (closed_.has_value()) return;
  if (MayFreeze(closing(), round_, expectations_, version_, num_live_gradient())) {
    expectations_.Freeze(round_, workers_.table(), num_live_gradient(), now_);
  }
  if (!MustClose(closing(), round_, expectations_, now_)) {
    if (AbstainersMayGo(round_, expectations_)) LetAbstainersGo(effects);
  } else if (round_.members.empty()) {
    Dissolve(effects);
  } else {
    OrderStep(effects);
  }
}

void RoundMachine::OrderStep(Effects& effects) {
  double total_weight = round_.weight.Value();
  if (mutation_ == Mutation::kWrongDenominator) total_weight += expectations_.outstanding();
  closed_ = Close(std::move(round_), std::exchange(statistics_, {}), expectations_.serial(),
                  version_ + 1, total_weight, policy_.configuration(),
                  expectations_.MissAtClose(workers_.table()), now_);
  if (policy_.close_config_version() != config_version()) {
    closed_->record->close_config_version = policy_.close_config_version();
  }
  effects.step = std::move(closed_->order);
  round_ = OpenRound{};
  expectations_.BeginNextRound();
}

void RoundMachine::Dissolve(Effects& effects) {
  LetAbstainersGo(effects);
  OpenRound round = std::exchange(round_, OpenRound{});
  round_.abstained = std::move(round.abstained);
  expectations_.BeginNextRound();
  for (const OpenRound::Bystander& bystander : round.bystanders) {
    SettleBystander(bystander, effects);
  }
}

void RoundMachine::LetAbstainersGo(Effects& effects) {
  for (const OpenRound::Bystander& abstainer : std::exchange(round_.abstainers, {})) {
    expectations_.TakeNoPart(workers_[abstainer.index]);
    SettleAbstainer(abstainer, effects);
  }
  // A gradient that one of them sent after its abstention was taken for its second part.
  std::erase_if(round_.bystanders, [&](const OpenRound::Bystander& bystander) {
    if (expectations_.HasContributed(workers_[bystander.index])) return false;
    SettleBystander(bystander, effects);
    return true;
  });
}

void RoundMachine::On(const StepTaken& taken, Effects& effects) {
  TALWEG_CHECK(closed_.has_value());
  ClosedRound closed = *std::exchange(closed_, std::nullopt);
  closed.report.gradient_norm = taken.gradient_norm;
  closed.report.clip_factor = taken.clip_factor;
  closed.report.update_norm = taken.update_norm;
  closed.report.num_non_finite = taken.num_non_finite;
  closed.report.first_non_finite = taken.first_non_finite;
  closed.report.state_digest = taken.state_digest;
  closed.report.curvature = taken.curvature;
  if (taken.curvature != nullptr) closed.record->inverse_version = taken.curvature->inverse_version;
  last_step_ = std::make_shared<const StepReport>(std::move(closed.report));
  ++version_;
  effects.made = closed.record;
  effects.durable.emplace_back(VersionMade{closed.record});
  const std::vector<RoundMember>& members = closed.record->members;
  effects.released.reserve(std::min(members.size(), workers_.calls().size()));
  constexpr size_t kAhead = 8;
  for (size_t place = 0; place < members.size(); ++place) {
    if (place + kAhead < members.size())
      workers_.table().Prefetch(closed.places[place + kAhead].index);
    SettleMember(closed.places[place], members[place], effects);
  }
  for (const OpenRound::Bystander& abstainer : closed.abstainers) {
    SettleAbstainer(abstainer, effects);
  }
  for (const OpenRound::Bystander& bystander : closed.bystanders) {
    SettleBystander(bystander, effects);
  }
  for (size_t place = 0; place < closed.statistics.size(); ++place) {
    if (!closed.statistics[place].is_alone) continue;
    SettleStatistics(closed.record->statistics[place], closed.statistics[place].digest, effects);
  }
  LetGo(effects);
  if (policy_.BeginNextVersion()) workers_.LookAtAll(now_);
}

void RoundMachine::SettleMember(const OpenRound::Place& place, const RoundMember& member,
                                Effects& effects) {
  Worker& worker = workers_[place.index];
  if (worker.left) return workers_.FreePlace(place.index);
  // The worker may have gone or joined anew meanwhile. Then nobody can repeat this sequence.
  if (worker.incarnation != member.incarnation) return;
  if (member.sequence > worker.settled.sequence) {
    worker.settled = {member.sequence, version_, last_step_, place.digest, Verdict::kApplied};
  }
  worker.progress_from = now_;
  clocks_.Advance(worker);
  if (worker.pending.sequence != member.sequence) return;
  worker.pending = {};
  if (clocks_.IsAhead(worker, RoundsAhead())) {
    clocks_.Hold(place.index, worker);
    workers_.calls().AnswerImpatient(worker, HeldAnswer(worker, false), LeaseEnd(),
                                     effects.released);
  } else {
    AnswerCalls(worker, SettledAnswer(worker, false), effects);
  }
}

void RoundMachine::SettleAbstainer(const OpenRound::Bystander& abstainer, Effects& effects) {
  Worker& worker = workers_[abstainer.index];
  if (worker.left) return workers_.FreePlace(abstainer.index);
  if (worker.incarnation != abstainer.incarnation || !worker.pending.abstains) return;
  SettlePending(worker, Verdict::kAbstained, effects);
}

void RoundMachine::SettleBystander(const OpenRound::Bystander& bystander, Effects& effects) {
  Worker& worker = workers_[bystander.index];
  if (worker.incarnation != bystander.incarnation || worker.pending.sequence == 0 ||
      worker.pending.is_statistics) {
    return;
  }
  SettlePending(worker, Verdict::kRoundClosed, effects);
}

void RoundMachine::SettlePending(Worker& worker, Verdict verdict, Effects& effects) {
  Conclude(worker, worker.pending.sequence, worker.pending.digest, verdict, effects);
  AnswerCalls(worker, SettledAnswer(worker, false), effects);
}

void RoundMachine::Conclude(Worker& worker, uint64_t sequence, uint32_t digest, Verdict verdict,
                            Effects& effects) {
  worker.settled = {sequence, version_, nullptr, digest, verdict};
  worker.pending = {};
  worker.progress_from = now_;
  refusals_.Count(verdict);
  effects.durable.emplace_back(OutcomeOf(worker));
}

uint64_t RoundMachine::RoundsAhead() const {
  return aggregation().max_rounds_ahead + (mutation_ == Mutation::kLooseBound ? 1 : 0);
}

void RoundMachine::LetGo(Effects& effects) {
  for (uint32_t index = clocks_.LetGo(workers_.table(), RoundsAhead()); index != Workers::kNone;
       index = clocks_.LetGo(workers_.table(), RoundsAhead())) {
    Worker& worker = workers_[index];
    worker.progress_from = now_;
    AnswerCalls(worker, SettledAnswer(worker, false), effects);
  }
}

void RoundMachine::On(const Configure& configure, Effects& effects) {
  TALWEG_CHECK(!closed_.has_value());
  effects.durable.emplace_back(ConfigurationAccepted{configure.config_version});
  // A round that waits for workers to come, before version 1, is not open.
  const bool is_open =
      !round_.members.empty() && (!aggregation().synchronous() || expectations_.frozen());
  // Deadlines may have become shorter, and rounds or bounds wider.
  if (policy_.Accept(configure, is_open)) workers_.LookAtAll(now_);
}

}  // namespace talweg::core
