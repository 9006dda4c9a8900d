// SPDX-License-Identifier: Apache-2.0
//
// Contributions, rounds, steps.
#include "tests/simulation/model.h"

#include <algorithm>
#include <variant>

#include "tests/simulation/exact_number.h"

namespace talweg::simulation {

using core::CloseRule;
using core::Verdict;

Model::Model(const WorldConfig& world) : world_(world), members_(world.num_workers) {}

void Model::Create(uint64_t history, const Settings& settings, Nanoseconds now) {
  Restore(Saved{}, history, settings, now);
  now_ = std::numeric_limits<Nanoseconds>::min();  // nothing was seen yet
}

Model::Saved Model::Save() const {
  Saved saved{history_, version_, highest_clock_, {}};
  for (uint32_t worker = 0; worker < members_.size(); ++worker) {
    if (members_[worker].joined) saved.members.emplace_back(worker, members_[worker]);
  }
  return saved;
}

void Model::Restore(const Saved& saved, uint64_t history, const Settings& settings,
                    Nanoseconds now) {
  history_ = history != 0 ? history : saved.history;
  version_ = saved.version;
  settings_ = closing_ = settings;
  next_settings_.reset();
  now_ = now;
  std::fill(members_.begin(), members_.end(), Member{});
  num_joined_ = saved.members.size();
  num_live_ = num_live_gradient_ = 0;
  tickets_.clear();
  clocks_.clear();
  highest_clock_ = saved.highest_clock;
  held_.clear();
  alarms_ = {};
  step_open_ = false;
  BeginNextRound();
  num_abstained_ = 0;
  abstained_.clear();
  for (const auto& [worker, was] : saved.members) {
    Member& member = members_[worker];
    member.joined = true;
    member.gradient = was.gradient;
    member.incarnation = was.incarnation;
    member.nonce = was.nonce;
    member.nonce_before = was.nonce_before;
    member.clock = was.clock;
    member.final = was.final;
    member.live = true;
    member.lease_end = now_ + Lease();
    member.progress_from = now_;
    ++num_live_;
    if (member.gradient) ++num_live_gradient_;
    if (bounded() && member.gradient && was.in_clocks) {
      member.in_clocks = true;
      ++clocks_[member.clock];
    }
  }
  for (const auto& [worker, was] : saved.members) {
    if (was.held && IsAhead(members_[worker])) Hold(worker);
    SetAlarm(worker);
  }
}

Expected Model::Handle(const core::Event& event, const Payload& payload, Nanoseconds now) {
  now_ = std::max(now_, now);
  payload_ = payload;
  return std::visit([this](const auto& typed) { return On(typed); }, event);
}

core::Answer Model::FinalAnswer(const Member& member, bool replayed) const {
  return {member.final.verdict, replayed, member.final.version, nullptr};
}

core::Answer Model::PendingAnswer(const Member& member, bool replayed) const {
  return {Verdict::kPending, replayed, version_ + 1, nullptr, member.pending.bystander};
}

core::Answer Model::HeldAnswer(const Member& member, bool replayed) const {
  const Verdict verdict = member.final.verdict;
  const bool refused = verdict != Verdict::kApplied && verdict != Verdict::kAbstained;
  return {Verdict::kPending, replayed, member.final.version, nullptr, refused};
}

void Model::TellFinal(uint32_t worker, const core::Contribution& contribution, bool replayed,
                      Expected& expected) {
  const Member& member = members_[worker];
  expected.ahead |= member.held;
  if (!member.held) {
    expected.answer = FinalAnswer(member, replayed);
  } else if (contribution.may_wait) {
    Wait(worker, contribution, replayed, expected);
    expected.will_not_count = HeldAnswer(member, replayed).will_not_count;
  } else {
    expected.answer = HeldAnswer(member, replayed);
  }
}

void Model::Refuse(uint32_t worker, const core::Contribution& contribution, Verdict verdict,
                   Expected& expected) {
  Member& member = members_[worker];
  // The worker comes again with the version that it is told now. It is waited for, but only once.
  if (verdict != Verdict::kRejectedNonFinite && Expects(member) && member.outdated_in != round_) {
    member.outdated_in = round_;
  } else {
    EndExpectation(worker);
  }
  member.pending = {};
  member.final = {contribution.sequence, contribution.digest, verdict, version_};
  Unhold(worker);
  Advance(worker);
  if (IsAhead(member)) Hold(worker);
  TellFinal(worker, contribution, false, expected);
}

void Model::TellPending(uint32_t worker, const core::Contribution& contribution, bool replayed,
                        Expected& expected) {
  const Member& member = members_[worker];
  if (synchronous() && contribution.may_wait) {
    Wait(worker, contribution, replayed, expected);
    expected.will_not_count = member.pending.bystander;
  } else {
    expected.answer = PendingAnswer(member, replayed);
  }
}

void Model::Count(uint32_t worker, const core::Contribution& contribution, uint64_t staleness,
                  Expected& expected) {
  Member& member = members_[worker];
  const uint64_t sequence = contribution.sequence;
  EndExpectation(worker);
  member.contributed = round_;
  member.pending = {sequence, contribution.digest, false};
  expected.counted = true;
  expected.weight = contribution.weight;
  if (settings_.policy.stale_scale == core::StaleScale::kInverse) {
    const double share = 1.0 + static_cast<double>(staleness);
    expected.weight = static_cast<float>(static_cast<double>(contribution.weight) / share);
  }
  counted_.push_back({{worker, contribution.incarnation, sequence},
                      payload_,
                      expected.weight,
                      now_,
                      contribution.digest});
  asked_to_close_ |= contribution.closes_round;
  FreezeIfDue();
  if (IsDue()) {
    Wait(worker, contribution, false, expected);  // for the step, at least
  } else {
    TellPending(worker, contribution, false, expected);
  }
}

Expected Model::On(const core::Contribution& contribution) {
  Expected expected;
  const uint32_t worker = WorkerOf(contribution.worker);
  expected.error = Identify(contribution.history, worker, contribution.incarnation);
  if (!expected.error.empty()) return expected;
  Member& member = members_[worker];
  const core::AggregationConfig& policy = settings_.policy;
  const uint64_t sequence = contribution.sequence;
  const auto fails = [&](const char* reason) {
    expected.error = reason;
    return expected;
  };
  if (!member.gradient) return fails("ROLE_MISSING");
  if (sequence < std::max(member.pending.sequence, member.final.sequence)) {
    return fails("SEQUENCE_TOO_OLD");
  }
  expected.repeats = sequence == member.pending.sequence || sequence == member.final.sequence;
  if (sequence == member.pending.sequence) {
    if (contribution.digest != member.pending.digest) return fails("SEQUENCE_REUSED");
    TellPending(worker, contribution, true, expected);
    return expected;
  }
  if (sequence == member.final.sequence) {
    if (contribution.digest != member.final.digest) return fails("SEQUENCE_REUSED");
    TellFinal(worker, contribution, true, expected);
    return expected;
  }
  if (contribution.base_version > version_) return fails("VERSION_AHEAD");
  if (contribution.closes_round && synchronous() && !closing_.policy.workers_may_close) {
    return fails("FIELD_OUT_OF_RANGE");
  }

  // The worker has moved on: its calls that still wait are told how things stand.
  Resume(worker);
  AnswerCalls(worker, member.held ? FinalAnswer(member, false) : PendingAnswer(member, false),
              expected);
  const uint64_t staleness = version_ - contribution.base_version;
  const bool unlimited = bounded() && policy.max_staleness == 0;
  if (!unlimited && staleness > policy.max_staleness && !contribution.abstains) {
    Refuse(worker, contribution,
           policy.max_staleness == 0 && synchronous() ? Verdict::kRoundClosed : Verdict::kTooStale,
           expected);
  } else if (!contribution.finite) {
    Refuse(worker, contribution, Verdict::kRejectedNonFinite, expected);
  } else if (member.held) {
    expected.ahead = true;
    Refuse(worker, contribution, Verdict::kRoundClosed, expected);
  } else if (synchronous() &&
             (member.contributed == round_ || (IsFull() && !contribution.abstains))) {
    EndExpectation(worker);
    member.pending = {sequence, contribution.digest, true};
    bystanders_.push_back(worker);
    TellPending(worker, contribution, false, expected);
  } else if (contribution.abstains) {
    Abstain(worker, contribution, expected);
  } else {
    Count(worker, contribution, staleness, expected);
  }
  Settle(expected);
  return expected;
}

void Model::Abstain(uint32_t worker, const core::Contribution& contribution, Expected& expected) {
  Member& member = members_[worker];
  ++num_abstained_;
  abstained_.insert(contribution.worker);
  const bool closes_window =
      !synchronous() && !bounded() && contribution.closes_round && !counted_.empty();
  if (!synchronous() && !closes_window) {
    return Refuse(worker, contribution, Verdict::kAbstained, expected);
  }
  EndExpectation(worker);
  member.contributed = round_;
  member.pending = {contribution.sequence, contribution.digest, false, true};
  abstainers_.emplace_back(worker, contribution.incarnation);
  asked_to_close_ |= contribution.closes_round;
  FreezeIfDue();
  if (IsDue()) {
    Wait(worker, contribution, false, expected);
  } else if (Dissolves() || AbstainersMayGo()) {
    Settle(expected);
    TellFinal(worker, contribution, false, expected);
  } else {
    TellPending(worker, contribution, false, expected);
  }
}

bool Model::Dissolves() const {
  return synchronous() && frozen_ && !step_open_ && counted_.empty() && !abstainers_.empty() &&
         (num_outstanding_ == 0 || asked_to_close_);
}

bool Model::AbstainersMayGo() const {
  return frozen_ && !step_open_ && !abstainers_.empty() && num_outstanding_ == 0;
}

void Model::LetAbstainersGo(Expected& expected) {
  for (const auto& [worker, incarnation] : abstainers_) {
    Member& member = members_[worker];
    member.contributed = 0;
    const bool is_same = member.joined && member.incarnation == incarnation;
    if (is_same && member.pending.abstains) End(worker, Verdict::kAbstained, expected);
  }
  abstainers_.clear();
  // Their gradients that came behind their abstentions may come again.
  std::erase_if(bystanders_, [&](uint32_t worker) {
    const Member& member = members_[worker];
    if (member.contributed == round_) return false;
    if (member.joined && member.pending.bystander) End(worker, Verdict::kRoundClosed, expected);
    return true;
  });
}

void Model::End(uint32_t worker, Verdict verdict, Expected& expected) {
  Member& member = members_[worker];
  member.final = {member.pending.sequence, member.pending.digest, verdict, version_};
  member.pending = {};
  member.progress_from = now_;
  AnswerCalls(worker, FinalAnswer(member, false), expected);
}

void Model::BeginNextRound() {
  ++round_;
  counted_.clear();
  bystanders_.clear();
  abstainers_.clear();
  asked_to_close_ = false;
  frozen_ = false;
  num_outstanding_ = 0;
}

bool Model::MayFreeze() const {
  return synchronous() && !frozen_ && !step_open_ && !(counted_.empty() && abstainers_.empty()) &&
         (version_ > 0 || num_live_gradient_ >= closing_.policy.min_workers);
}

void Model::FreezeIfDue() {
  if (!MayFreeze()) return;
  frozen_ = true;
  frozen_at_ = now_;
  num_outstanding_ = 0;
  for (uint32_t worker = 0; worker < members_.size(); ++worker) {
    Member& member = members_[worker];
    const bool is_here = member.joined && member.live && member.gradient && !member.stalled;
    member.expected_at_open = is_here;
    if (!is_here || member.contributed == round_) continue;
    if (member.pending.bystander) continue;  // found the round full
    member.expected_in = round_;
    ++num_outstanding_;
    if (closing_.policy.progress_seconds > 0) SetAlarm(worker);
  }
}

bool Model::IsFull() const {
  const core::AggregationConfig& policy = settings_.policy;
  return policy.stages_all() && counted_.size() >= policy.max_workers;
}

bool Model::IsDue() const {
  if (step_open_ || counted_.empty()) return false;
  const core::AggregationConfig& policy = closing_.policy;
  if (bounded()) return true;
  if (!synchronous()) {
    return counted_.size() >= policy.gradient_accumulation_steps || asked_to_close_;
  }
  if (!frozen_) return false;
  if (asked_to_close_) return true;
  const bool nobody_else = num_outstanding_ == 0;
  const bool closes_with_fewer = nobody_else && policy.too_few == core::TooFew::kClose;
  switch (policy.close) {
    case CloseRule::kAll:
      return nobody_else;
    case CloseRule::kCount:
      return counted_.size() + abstainers_.size() >=
                 std::min(policy.close_count, policy.worker_limit()) ||
             closes_with_fewer;
    case CloseRule::kWeight: {
      ExactNumber weight;
      for (const Counted& one : counted_) weight.Add(one.weight);
      return weight.Value() >= policy.close_weight || IsFull() || closes_with_fewer;
    }
    case CloseRule::kDeadline:
      return nobody_else || now_ >= counted_.front().time + Seconds(policy.close_seconds);
  }
  return false;
}

void Model::Settle(Expected& expected) {
  FreezeIfDue();
  if (IsDue()) {
    expected.step = true;
    step_open_ = true;
  } else if (Dissolves()) {
    LetAbstainersGo(expected);
    for (const uint32_t worker : bystanders_) {
      const Member& member = members_[worker];
      if (member.joined && member.pending.bystander) End(worker, Verdict::kRoundClosed, expected);
    }
    BeginNextRound();
  } else if (AbstainersMayGo()) {
    LetAbstainersGo(expected);
  } else {
    LetGo(expected);  // a step lets go when it is taken
  }
}

Expected Model::On(const core::StepTaken& /*taken*/) {
  Expected expected;
  ++version_;
  step_open_ = false;
  for (const Counted& one : counted_) {
    Member& member = members_[one.key.worker];
    if (!member.joined || member.incarnation != one.key.incarnation) continue;
    const uint64_t sequence = one.key.sequence;
    if (sequence > member.final.sequence) {
      member.final = {sequence, one.digest, Verdict::kApplied, version_};
    }
    Advance(one.key.worker);
    if (member.pending.sequence != sequence) continue;
    member.pending = {};
    if (IsAhead(member)) {
      Hold(one.key.worker);
      EndImpatientCalls(one.key.worker, expected);
    } else {
      AnswerCalls(one.key.worker, FinalAnswer(member, false), expected);
    }
    SetAlarm(one.key.worker);
  }
  for (const auto& [worker, incarnation] : abstainers_) {
    const Member& member = members_[worker];
    const bool is_same = member.joined && member.incarnation == incarnation;
    if (is_same && member.pending.abstains) End(worker, Verdict::kAbstained, expected);
  }
  for (const uint32_t worker : bystanders_) {
    const Member& member = members_[worker];
    if (member.joined && member.pending.bystander) End(worker, Verdict::kRoundClosed, expected);
  }
  BeginNextRound();
  num_abstained_ = 0;
  abstained_.clear();
  LetGo(expected);
  if (next_settings_.has_value()) {
    settings_ = closing_ = *next_settings_;
    next_settings_.reset();
    for (uint32_t worker = 0; worker < members_.size(); ++worker) SetAlarm(worker);
  }
  return expected;
}

void Model::ChangeClosingRule(const Settings& settings) {
  const core::AggregationConfig& to = settings.policy;
  core::AggregationConfig& rule = closing_.policy;
  if (rule.close == to.close && rule.close_count == to.close_count &&
      rule.close_weight == to.close_weight && rule.close_seconds == to.close_seconds &&
      rule.too_few == to.too_few && rule.min_workers == to.min_workers &&
      rule.progress_seconds == to.progress_seconds &&
      rule.workers_may_close == to.workers_may_close) {
    return;
  }
  rule.close = to.close;
  rule.close_count = to.close_count;
  rule.close_weight = to.close_weight;
  rule.close_seconds = to.close_seconds;
  rule.too_few = to.too_few;
  rule.min_workers = to.min_workers;
  rule.progress_seconds = to.progress_seconds;
  rule.workers_may_close = to.workers_may_close;
  closing_.config_version = settings.config_version;
  for (uint32_t worker = 0; worker < members_.size(); ++worker) SetAlarm(worker);
}

Expected Model::On(const core::Configure& configure) {
  Expected expected;
  const Settings settings{configure.aggregation, configure.schedule.rate().value().learning_rate,
                          configure.config_version};
  // A synchronous round that nobody could open yet is not open, nor is one of abstentions alone.
  const bool is_open = !counted_.empty() && (frozen_ || !synchronous());
  if (is_open) {
    next_settings_ = settings;
    ChangeClosingRule(settings);
    return expected;
  }
  settings_ = closing_ = settings;
  next_settings_.reset();
  for (uint32_t worker = 0; worker < members_.size(); ++worker) SetAlarm(worker);
  return expected;
}

}  // namespace talweg::simulation
