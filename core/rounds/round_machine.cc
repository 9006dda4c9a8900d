// SPDX-License-Identifier: Apache-2.0
//
// What is judged, and when a round opens and closes.
#include "core/rounds/round_machine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/rounds/round_state.h"

namespace talweg::core {

absl::Status CheckHistory(uint64_t history, uint64_t current, uint64_t version) {
  if (history == current) return absl::OkStatus();
  return MakeError(Reason::kHistoryChanged,
                   absl::StrCat("history ", history, " is not the session's, which is ", current,
                                " at version ", version),
                   "", {{"history", absl::StrCat(current)}, {"version", absl::StrCat(version)}});
}

RoundMachine::RoundMachine(uint64_t history, const Configure& configuration)
    : state_(std::make_unique<State>(history, configuration)) {
  TALWEG_CHECK(history != 0);
}
RoundMachine::~RoundMachine() = default;
RoundMachine::RoundMachine(RoundMachine&&) noexcept = default;

Effects RoundMachine::Handle(const Event& event, absl::Time now) {
  state_->now = std::max(state_->now, now);
  Effects effects;
  std::visit([&](const auto& typed) { state_->On(typed, effects); }, event);
  if (state_->mutation == Mutation::kDropAnswer && effects.released.size() > 1) {
    effects.released.pop_back();
  }
  return effects;
}

absl::Time RoundMachine::NextTick() const {
  const Round& round = state_->round;
  // Due already, where a worker that had expired came back and was the one that was missing.
  if (!state_->open_step.has_value() && state_->IsDue()) return state_->now;
  absl::Time next = state_->workers.NextAlarm();
  if (round.open && state_->aggregation.close == CloseRule::kDeadline) {
    next = std::min(next, round.first + absl::Seconds(state_->aggregation.close_seconds));
  }
  if (state_->mutation == Mutation::kOversleep) next += absl::Seconds(1);
  return next;
}

absl::Status RoundMachine::CheckHistory(uint64_t history) const {
  return core::CheckHistory(history, state_->history, state_->version);
}
uint64_t RoundMachine::history() const { return state_->history; }
uint64_t RoundMachine::version() const { return state_->version; }
const Schedule& RoundMachine::schedule() const { return state_->config.schedule; }
const AggregationConfig& RoundMachine::aggregation() const { return state_->aggregation; }
uint64_t RoundMachine::config_version() const { return state_->config.config_version; }
uint32_t RoundMachine::num_folded() const {
  return static_cast<uint32_t>(state_->round.members.size());
}
size_t RoundMachine::num_waiting() const { return state_->num_waiting; }
size_t RoundMachine::num_workers() const { return state_->workers.size() - state_->num_left; }
size_t RoundMachine::num_live_workers() const { return state_->num_live; }
const std::shared_ptr<const StepReport>& RoundMachine::last_step() const {
  return state_->last_step;
}
void RoundMachine::SwitchOn(Mutation mutation) { state_->mutation = mutation; }

// --- Who is expected, and whether the round is due.

bool RoundMachine::State::Expects(const Worker& worker) const {
  return round.open && worker.live && worker.gradient && !worker.stalled &&
         worker.excluded_from != round.serial && worker.contributed_to != round.serial;
}

void RoundMachine::State::ExpectNoLonger(Worker& worker) {
  if (!Expects(worker)) return;
  worker.excluded_from = round.serial;
  --round.outstanding;
}

void RoundMachine::State::Freeze() {
  round.open = true;
  round.opened = now;
  round.outstanding = num_live_gradient - num_stalled;
  // Those whose contributions are there, and may have waited for enough workers to come.
  for (const Round::Place& place : round.places) {
    const Worker& worker = workers[place.index];
    if (worker.live && worker.gradient && !worker.stalled) --round.outstanding;
  }
  // Nor those who found the round full, and wait for its close.
  for (const auto [index, incarnation] : round.bystanders) {
    Worker& worker = workers[index];
    if (worker.incarnation == incarnation) ExpectNoLonger(worker);
  }
}

bool RoundMachine::State::MayFreeze() const {
  return aggregation.synchronous() && !round.open && !round.members.empty() &&
         (version > 0 || num_live_gradient >= aggregation.min_workers);
}

bool RoundMachine::State::IsFull() const {
  return round.members.size() >=
         (aggregation.stages_all() ? aggregation.worker_limit() : AggregationConfig::kMaxWorkers);
}

void RoundMachine::State::Watch(uint32_t index) {
  std::vector<Round::Bystander>& bystanders = round.bystanders;
  // Those who left, and whoever came twice, are dropped when they are most.
  if (bystanders.size() > 2 * workers.size() + 16) {
    const auto key = [](const Round::Bystander& one) {
      return std::pair(one.index, one.incarnation);
    };
    std::sort(bystanders.begin(), bystanders.end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
    bystanders.erase(std::unique(bystanders.begin(), bystanders.end(),
                                 [&](const auto& a, const auto& b) { return key(a) == key(b); }),
                     bystanders.end());
    std::erase_if(bystanders, [&](const Round::Bystander& one) {
      return workers[one.index].incarnation != one.incarnation;
    });
  }
  bystanders.push_back({index, workers[index].incarnation});
}

bool RoundMachine::State::IsDue() const {
  const size_t count = round.members.size();
  if (count == 0) return false;
  if (bounded()) return true;
  if (!aggregation.synchronous()) return count >= aggregation.gradient_accumulation_steps;
  if (!round.open) return false;
  const bool nobody_expected = round.outstanding == 0;
  switch (aggregation.close) {
    case CloseRule::kAll:
      return nobody_expected;
    case CloseRule::kCount:
      return count >= aggregation.close_count ||
             (nobody_expected && aggregation.too_few == TooFew::kClose);
    case CloseRule::kWeight:
      return round.weight.Value() >= aggregation.close_weight || IsFull() ||
             (nobody_expected && aggregation.too_few == TooFew::kClose);
    case CloseRule::kDeadline:
      return nobody_expected || now >= round.first + absl::Seconds(aggregation.close_seconds);
  }
  return false;
}

void RoundMachine::State::CloseIfDue(Effects& effects) {
  if (open_step.has_value()) return;
  if (MayFreeze()) Freeze();
  if (IsDue()) Order(effects);
}

// --- Contributions.

Answer RoundMachine::State::SettledAnswer(const Worker& worker, bool replayed) const {
  const Worker::Settled& settled = worker.settled;
  return {settled.verdict, replayed, settled.version, settled.report};
}

Answer RoundMachine::State::HeldAnswer(const Worker& worker, bool replayed) const {
  return {Verdict::kPending, replayed, worker.settled.version, nullptr};
}

Answer RoundMachine::State::PendingAnswer(bool replayed) const {
  return {Verdict::kPending, replayed, version + 1, nullptr};
}

void RoundMachine::State::Wait(Worker& worker, const Contribution& contribution, bool repeats,
                               Effects& effects) {
  worker.calls.push_back({contribution.ticket, repeats, contribution.may_wait});
  ++num_waiting;
  effects.waits = true;
}

void RoundMachine::State::TellSettled(uint32_t index, const Contribution& contribution,
                                      bool replayed, Effects& effects) {
  Worker& worker = workers[index];
  if (!worker.held) {
    effects.answer = SettledAnswer(worker, replayed);
  } else if (contribution.may_wait) {
    Wait(worker, contribution, replayed, effects);
  } else {
    effects.answer = HeldAnswer(worker, replayed);
  }
}

// A sequence that is pending.
void RoundMachine::State::Repeat(Worker& worker, const Contribution& contribution,
                                 Effects& effects) {
  if (aggregation.synchronous() && contribution.may_wait) {
    Wait(worker, contribution, true, effects);
  } else {
    effects.answer = PendingAnswer(true);
  }
}

void RoundMachine::State::On(const Contribution& contribution, Effects& effects) {
  TALWEG_CHECK(!open_step.has_value());
  const absl::StatusOr<uint32_t> found =
      FindWorker(contribution.history, contribution.worker, contribution.incarnation);
  effects.status = found.status();
  if (!found.ok()) return;
  const uint32_t index = *found;
  Worker& worker = workers[index];
  const uint64_t sequence = contribution.sequence;
  const auto same_payload = [&](uint32_t digest) {
    if (contribution.digest == digest) return true;
    effects.status =
        MakeError(Reason::kSequenceReused,
                  absl::StrCat("sequence ", sequence, " was sent before, with another payload"),
                  "header.sequence");
    return false;
  };
  if (!worker.gradient) {
    effects.status = MakeError(
        Reason::kRoleMissing,
        absl::StrCat("worker \"", contribution.worker, "\" did not join to contribute gradients"));
    return;
  }
  const uint64_t last = std::max(worker.pending.sequence, worker.settled.sequence);
  if (mutation != Mutation::kForgetReplies && sequence < last) {
    effects.status = MakeError(
        Reason::kSequenceTooOld,
        absl::StrCat("sequence ", sequence, " is older than the last one that came, ", last),
        "header.sequence");
    return;
  }
  if (sequence == worker.pending.sequence && mutation != Mutation::kCountDuplicate) {
    if (same_payload(worker.pending.digest)) Repeat(worker, contribution, effects);
    return;
  }
  if (sequence == worker.settled.sequence && mutation != Mutation::kForgetReplies) {
    if (same_payload(worker.settled.digest)) TellSettled(index, contribution, true, effects);
    return;
  }
  if (contribution.base_version > version) {
    effects.status = MakeError(Reason::kVersionAhead,
                               absl::StrCat("base version ", contribution.base_version,
                                            " is newer than the session, which is at ", version),
                               "header.base_version");
    return;
  }

  // A new one. Who still waits for an older one is told how that stands.
  Resume(worker);
  if (!worker.calls.empty()) {
    AnswerCalls(worker, worker.held ? SettledAnswer(worker, false) : PendingAnswer(false), effects);
  }
  const uint64_t staleness = version - contribution.base_version;
  const bool limited = !bounded() || aggregation.max_staleness > 0;
  std::optional<Verdict> refusal;
  if (limited && staleness > aggregation.max_staleness) {
    refusal = aggregation.max_staleness == 0 ? Verdict::kRoundClosed : Verdict::kTooStale;
  } else if (!contribution.finite) {
    refusal = Verdict::kRejectedNonFinite;
  } else if (worker.held) {
    refusal = Verdict::kRoundClosed;
  }
  if (refusal.has_value()) {
    worker.pending = {};
    worker.settled = {sequence, version, nullptr, contribution.digest, *refusal};
    // One that was too old is told the version to go on from, and waited for: it would come too
    // late for every round, did each close while it takes the gradient of the last. But once.
    if (*refusal != Verdict::kRejectedNonFinite && Expects(worker) &&
        worker.outdated_in != round.serial) {
      worker.outdated_in = round.serial;
    } else {
      ExpectNoLonger(worker);
    }
    Advance(worker);
    worker.held = false;
    if (IsAhead(worker)) Hold(index);
    TellSettled(index, contribution, false, effects);
    CloseIfDue(effects);
    LetGo(effects);
    return;
  }

  const bool contributed_already =
      worker.contributed_to == round.serial && mutation != Mutation::kCountDuplicate;
  if (aggregation.synchronous() && (contributed_already || IsFull())) {
    ExpectNoLonger(worker);
    worker.pending = {sequence, contribution.digest};
    Watch(index);
    if (contribution.may_wait) {
      Wait(worker, contribution, false, effects);
    } else {
      effects.answer = PendingAnswer(false);
    }
    CloseIfDue(effects);
    return;
  }
  Add(index, contribution, staleness, effects);
  CloseIfDue(effects);
  // A round of one takes the gradient as it is.
  if (effects.step.has_value() && effects.step->contributors == 1) effects.fold = false;
  if (effects.step.has_value() || (contribution.may_wait && aggregation.synchronous())) {
    Wait(worker, contribution, false, effects);
  } else {
    effects.answer = PendingAnswer(false);
  }
}

void RoundMachine::State::Add(uint32_t index, const Contribution& contribution, uint64_t staleness,
                              Effects& effects) {
  Worker& worker = workers[index];
  if (round.members.empty()) round.first = now;
  if (Expects(worker)) --round.outstanding;
  worker.contributed_to = round.serial;
  worker.pending = {contribution.sequence, contribution.digest};
  effects.fold = true;
  effects.weight = contribution.weight;
  if (aggregation.stale_scale == StaleScale::kInverse) {
    const double scaled = static_cast<double>(contribution.weight) / (1.0 + staleness);
    effects.weight = std::max(static_cast<float>(scaled), std::numeric_limits<float>::denorm_min());
  }
  round.members.push_back({contribution.worker, contribution.incarnation, contribution.sequence,
                           contribution.base_version, effects.weight, now});
  round.places.push_back({index, contribution.digest});
  round.staleness = std::max(round.staleness, staleness);
  round.weight.Add(effects.weight);
  if (contribution.loss.has_value()) {
    if (std::isfinite(*contribution.loss)) {
      round.losses.Add(*contribution.loss);
    } else {
      round.infinite_losses += *contribution.loss;
      // One NaN for all, for its bits are saved.
      if (std::isnan(round.infinite_losses)) round.infinite_losses = std::nan("");
    }
    ++round.num_losses;
  }
}

// --- The step.

// The first in the order of names, for they are part of the state, which is the same in every run.
std::vector<std::string> RoundMachine::State::LateNames() const {
  const auto less = [&](uint32_t a, uint32_t b) { return workers[a].name < workers[b].name; };
  std::vector<uint32_t> first;  // a heap, the last of them on top
  workers.ForEach([&](uint32_t index) {
    if (!Expects(workers[index])) return;
    if (first.size() == kMaxLateNames) {
      if (!less(index, first.front())) return;
      std::pop_heap(first.begin(), first.end(), less);
      first.pop_back();
    }
    first.push_back(index);
    std::push_heap(first.begin(), first.end(), less);
  });
  std::sort_heap(first.begin(), first.end(), less);
  std::vector<std::string> names;
  names.reserve(first.size());
  for (const uint32_t index : first) names.push_back(workers[index].name);
  return names;
}

void RoundMachine::State::Order(Effects& effects) {
  OpenStep& open = open_step.emplace();
  const uint64_t expected = round.outstanding;
  const size_t count = round.members.size();
  auto record = std::make_shared<VersionRecord>();
  record->version = version + 1;
  record->config_version = config.config_version;
  record->opened = round.first;
  record->closed = now;
  record->total_weight = round.weight.Value();
  if (mutation == Mutation::kWrongDenominator) record->total_weight += expected;
  record->num_late = static_cast<uint32_t>(expected);
  if (expected > 0) record->late_workers = LateNames();
  StepReport& report = open.report;
  report.learning_rate = config.schedule.LearningRate(version + 1);
  report.staleness = round.staleness;
  report.contributors = static_cast<uint32_t>(count);
  if (round.num_losses > 0) {
    const bool finite = round.infinite_losses == 0;
    report.loss = finite ? round.losses.Value() / round.num_losses : round.infinite_losses;
  }
  report.total_weight = record->total_weight;
  report.num_late = record->num_late;
  report.late_workers = record->late_workers;

  StepOrder& order = effects.step.emplace();
  order.number = version + 1;
  order.learning_rate = report.learning_rate;
  order.contributors = report.contributors;
  order.total_weight = record->total_weight;
  if (aggregation.reduce_order == ReduceOrder::kByWorker) {
    order.by_worker.resize(count);
    std::iota(order.by_worker.begin(), order.by_worker.end(), 0);
    std::sort(order.by_worker.begin(), order.by_worker.end(), [&](uint32_t a, uint32_t b) {
      return round.members[a].worker < round.members[b].worker;
    });
  }
  if (aggregation.reduction == Reduction::kTrimmedMean) {
    order.trim =
        static_cast<uint32_t>(std::floor(aggregation.trim_fraction * static_cast<double>(count)));
  }
  record->members = std::move(round.members);
  open.record = std::move(record);
  const uint64_t serial = round.serial;
  open.round = std::move(round);
  round = Round{};
  round.serial = serial + 1;
}

void RoundMachine::State::On(const StepTaken& taken, Effects& effects) {
  TALWEG_CHECK(open_step.has_value());
  OpenStep open = *std::move(open_step);
  open_step.reset();
  open.report.gradient_norm = taken.gradient_norm;
  open.report.clip_factor = taken.clip_factor;
  open.report.update_norm = taken.update_norm;
  last_step = std::make_shared<const StepReport>(std::move(open.report));
  ++version;
  const std::vector<RoundMember>& members = open.record->members;
  effects.released.reserve(std::min(members.size(), num_waiting));
  constexpr size_t kAhead = 8;
  for (size_t place = 0; place < members.size(); ++place) {
    if (place + kAhead < members.size()) workers.Prefetch(open.round.places[place + kAhead].index);
    const auto [index, digest] = open.round.places[place];
    Worker& worker = workers[index];
    const RoundMember& member = members[place];
    if (worker.left) {
      Forget(index);
      continue;
    }
    // It may have gone, or joined anew, meanwhile: then nobody can repeat this sequence.
    if (worker.incarnation != member.incarnation) continue;
    if (member.sequence > worker.settled.sequence) {
      worker.settled = {member.sequence, version, last_step, digest, Verdict::kApplied};
    }
    Advance(worker);
    if (worker.pending.sequence != member.sequence) continue;
    worker.pending = {};
    if (IsAhead(worker)) {
      Hold(index);
      EndImpatientCalls(worker, effects);
    } else {
      AnswerCalls(worker, SettledAnswer(worker, false), effects);
    }
  }
  for (const auto [index, incarnation] : open.round.bystanders) {
    Worker& worker = workers[index];
    if (worker.incarnation != incarnation || worker.pending.sequence == 0) continue;
    worker.settled = {worker.pending.sequence, version, nullptr, worker.pending.digest,
                      Verdict::kRoundClosed};
    worker.pending = {};
    worker.progress_from = now;
    AnswerCalls(worker, SettledAnswer(worker, false), effects);
  }
  LetGo(effects);
  effects.made = std::move(open.record);
  if (next.has_value()) {
    Apply(*next);
    next.reset();
  }
}

void RoundMachine::State::On(const Configure& configure, Effects& /*effects*/) {
  TALWEG_CHECK(!open_step.has_value());
  // One that waits for workers to come, before version 1, is not open.
  if (round.members.empty() || (aggregation.synchronous() && !round.open)) {
    next.reset();
    Apply(configure);
  } else {
    next = configure;
  }
}

void RoundMachine::State::Apply(const Configure& configure) {
  config = configure;
  workers.RingAll(now);  // deadlines may have become shorter, and rounds or bounds wider
}

}  // namespace talweg::core
