// SPDX-License-Identifier: Apache-2.0
#include "core/search/search_machine.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"

namespace talweg::core {

SearchMachine::SearchMachine(uint64_t history, const ConfigureSearch& configuration)
    : history_(history),
      configuration_(configuration),
      open_(std::make_unique<Generation>(1, 0, configuration.search)) {
  TALWEG_CHECK(history != 0 && configuration.search.searches());
}

SearchEffects SearchMachine::Handle(const SearchEvent& event, absl::Time now) {
  TALWEG_CHECK(!closed_.has_value() || std::holds_alternative<StepTaken>(event));
  now_ = std::max(now_, now);
  SearchEffects effects;
  std::visit([&](const auto& typed) { On(typed, effects); }, event);
  return effects;
}

absl::Time SearchMachine::NextTick() const {
  const bool is_due =
      !closed_.has_value() && !finished() && (open_->IsLost() || open_->MustClose(now_));
  if (is_due) return now_;  // Lost leases have dropped the last pairs that were missing.
  const absl::Time due = std::min(workers_.NextLook(), open_->Deadline());
  return mutation_ == SearchMutation::kOversleep ? due + absl::Seconds(1) : due;
}

// --- Workers.

absl::StatusOr<uint32_t> SearchMachine::FindSearcher(uint64_t history, const std::string& worker,
                                                     uint64_t incarnation) {
  if (mutation_ != SearchMutation::kIgnoreHistory) TALWEG_RETURN_IF_ERROR(CheckHistory(history));
  if (mutation_ == SearchMutation::kIgnoreFencing) {
    const uint32_t named = workers_.table().Find(worker);
    if (named != Attendance<Searcher>::kNone) incarnation = workers_[named].incarnation;
  }
  TALWEG_ASSIGN_OR_RETURN(const uint32_t index,
                          workers_.FindAndRenew(worker, incarnation, Rules()));
  if (workers_[index].roles.Has(Role::kSearch)) return index;
  return MakeError(Reason::kRoleMissing,
                   absl::StrCat("worker \"", worker, "\" did not join to search"), "worker");
}

void SearchMachine::On(const Join& join, SearchEffects& effects) {
  const absl::StatusOr<uint32_t> admitted =
      workers_.Admit(join, configuration_.worker_limit, Rules(), effects.released);
  effects.status = admitted.status();
  if (!admitted.ok()) return;
  effects.incarnation = workers_[*admitted].incarnation;
  if (effects.incarnation != join.incarnation) return;  // It was a repeat.
  effects.durable.emplace_back(
      MemberAdmitted{join.worker, join.incarnation, join.roles, join.nonce});
  ServeWaiting(effects);
}

void SearchMachine::On(const Heartbeat& heartbeat, SearchEffects& effects) {
  effects.status = CheckHistory(heartbeat.history);
  if (!effects.status.ok()) return;
  effects.status = workers_.FindAndRenew(heartbeat.worker, heartbeat.incarnation, Rules()).status();
}

void SearchMachine::On(const Leave& leave, SearchEffects& effects) {
  effects.status = CheckHistory(leave.history);
  if (!effects.status.ok()) return;
  const absl::StatusOr<uint32_t> found =
      workers_.FindAndRenew(leave.worker, leave.incarnation, Rules());
  effects.status = found.status();
  if (!found.ok()) return;
  workers_.Leave(*found, Rules(), effects.released);
  ServeWaiting(effects);
}

void SearchMachine::On(const CallEnded& ended, SearchEffects& /*effects*/) {
  workers_.ForgetCall(ended, Rules());
}

void SearchMachine::On(const Tick& /*tick*/, SearchEffects& effects) {
  workers_.Look(Rules());
  CloseIfDue(effects);
  if (!effects.step.has_value()) ServeWaiting(effects);
}

// --- Leases.

std::optional<EvaluationLease> SearchMachine::LeaseTo(uint32_t index, uint32_t capacity) {
  if (finished()) return std::nullopt;
  Searcher& worker = workers_[index];
  Rules().IsLookedAt(worker);  // The tick that ends a lease may come late.
  const bool held = Rules().HoldsLease(worker);
  if (!held) {
    const bool had_begun = open_->has_begun();
    const uint32_t lease = last_lease_ + 1 == 0 ? 1 : last_lease_ + 1;
    PairRange range;
    if (open_->EvaluationIsFree()) {
      open_->LeaseEvaluation(lease);
    } else if (const std::optional<PairRange> leased = open_->Lease(lease, capacity)) {
      range = *leased;
    } else {
      return std::nullopt;
    }
    if (!had_begun) opened_ = now_;
    last_lease_ = lease;
    worker.lease = lease;
    worker.generation = open_->number();
    worker.range = range;
    worker.expires = now_ + absl::Seconds(open_->config().evaluation_seconds);
    workers_.LookAt(index, worker.expires);
  }
  return EvaluationLease{
      worker.lease,   open_->number(),       version_, worker.range.first, worker.range.count,
      open_->sigma(), worker.expires - now_, held};
}

AskAnswer SearchMachine::AnswerOf(std::optional<EvaluationLease> lease) const {
  return {std::move(lease), finished(), version_, open_->number()};
}

void SearchMachine::On(const Ask& ask, SearchEffects& effects) {
  const absl::StatusOr<uint32_t> found = FindSearcher(ask.history, ask.worker, ask.incarnation);
  effects.status = found.status();
  if (!found.ok()) return;
  std::optional<EvaluationLease> lease = LeaseTo(*found, ask.capacity);
  if (lease.has_value() || finished() || !ask.may_wait) {
    effects.asked = AnswerOf(std::move(lease));
    return;
  }
  Searcher& worker = workers_[*found];
  worker.capacity = ask.capacity;
  workers_.calls().Add(worker, {ask.ticket});
  waiting_.emplace_back(*found, worker.incarnation);
  effects.waits = true;
  if (waiting_.size() <= 2 * workers_.num_members() + 16) return;
  // Workers that gave up and asked again stand there several times.
  absl::flat_hash_set<uint32_t> seen;
  std::erase_if(waiting_, [&](const std::pair<uint32_t, uint64_t>& place) {
    const Searcher& each = workers_[place.first];
    const bool waits = each.incarnation == place.second && !each.calls.empty();
    return !waits || !seen.insert(place.first).second;
  });
}

void SearchMachine::ServeWaiting(SearchEffects& effects) {
  while (!waiting_.empty()) {
    const auto [index, incarnation] = waiting_.front();
    Searcher& worker = workers_[index];
    if (worker.incarnation != incarnation || worker.calls.empty()) {
      waiting_.pop_front();
      continue;
    }
    std::optional<EvaluationLease> lease = LeaseTo(index, worker.capacity);
    if (!lease.has_value() && !finished()) return;
    waiting_.pop_front();
    std::vector<Released> released;
    workers_.calls().AnswerAll(worker, {}, LeaseEnd(), released);
    for (const Released& call : released) {
      effects.given.push_back({call.ticket, AnswerOf(lease)});
    }
  }
}

// --- Losses.

absl::Status SearchMachine::CheckTell(const Tell& tell) const {
  const auto bad = [](absl::string_view field, absl::string_view why) {
    return MakeError(Reason::kFieldOutOfRange, why, field);
  };
  if (tell.generation == 0 || tell.generation > open_->number()) {
    return bad("generation",
               absl::StrCat("generation is ", tell.generation, ", open is ", open_->number()));
  }
  const size_t per_pair = tell.evaluate ? 1 : configuration_.search.losses_per_pair();
  const size_t num_pairs = tell.losses.size() / per_pair;
  if (tell.losses.empty() || tell.losses.size() % per_pair != 0 ||
      (tell.evaluate && num_pairs != 1)) {
    return bad("losses", absl::StrCat("there are ", tell.losses.size(), " losses, expected ",
                                      tell.evaluate ? "1, that of the parameters"
                                                    : absl::StrCat(per_pair, " for each pair")));
  }
  if (!tell.statuses.empty() && tell.statuses.size() != num_pairs) {
    return bad("statuses", absl::StrCat("there are ", tell.statuses.size(), " statuses for ",
                                        num_pairs, " pairs"));
  }
  if (tell.evaluate && tell.first_pair != 0) {
    return bad("first_pair", "first_pair is for pairs, and the loss of the parameters is told");
  }
  // A generation that has closed may have had more pairs.
  const bool is_open = tell.generation == open_->number();
  if (!tell.evaluate && is_open && tell.first_pair + num_pairs > open_->num_pairs()) {
    return bad("first_pair",
               absl::StrCat("pairs ", tell.first_pair, " to ", tell.first_pair + num_pairs - 1,
                            " are told, and there are ", open_->num_pairs()));
  }
  return absl::OkStatus();
}

void SearchMachine::On(const Tell& tell, SearchEffects& effects) {
  const absl::StatusOr<uint32_t> found = FindSearcher(tell.history, tell.worker, tell.incarnation);
  effects.status = found.ok() ? CheckTell(tell) : found.status();
  if (!effects.status.ok()) return;
  TellAnswer& answer = effects.told.emplace();
  const size_t per_pair = configuration_.search.losses_per_pair();
  const PairRange range{tell.first_pair, static_cast<uint32_t>(tell.losses.size() / per_pair)};
  const bool is_late = tell.generation < open_->number() && mutation_ != SearchMutation::kCountLate;
  if (is_late || finished()) {
    answer.verdict = TellVerdict::kLate;
  } else if (tell.evaluate ? !open_->config().evaluates(version_) || !open_->EvaluationWasLeased()
                           : !open_->WasLeased(range)) {
    answer.verdict = TellVerdict::kNotLeased;
  } else {
    if (!open_->has_begun()) opened_ = now_;
    answer.counts = open_->Take(tell, now_);
    const TellCounts& counts = answer.counts;
    if (counts.num_accepted + counts.num_to_retry + counts.num_dropped == 0) {
      answer.verdict = TellVerdict::kRepeated;
    } else {
      effects.durable.emplace_back(LossesTold{tell});
      CloseIfDue(effects);
      if (!effects.step.has_value()) ServeWaiting(effects);
    }
  }
  if (effects.step.has_value()) {
    closed_->teller = *found;
    closed_->capacity = tell.capacity;
  } else if (tell.capacity > 0) {
    answer.next = LeaseTo(*found, tell.capacity);
  }
  answer.version = version_ + (effects.step.has_value() ? 1 : 0);
  answer.generation = open_->number() + (effects.step.has_value() ? 1 : 0);
  const bool changes = effects.step.has_value() && next_.has_value();
  answer.finished = (changes ? *next_ : configuration_).search.IsFinishedAt(answer.version);
}

// --- Versions.

void SearchMachine::CloseIfDue(SearchEffects& effects) {
  if (finished()) return;
  if (open_->IsLost()) {
    ++num_given_up_;
    num_given_up_non_finite_ += open_->num_non_finite();
    return OpenNext();
  }
  if (open_->MustClose(now_)) OrderStep(effects);
}

void SearchMachine::OpenNext() {
  if (next_.has_value()) {
    configuration_ = *std::exchange(next_, std::nullopt);
    workers_.LookAtAll(now_);  // Leases of workers may have become shorter.
  }
  Open(open_->number() + 1);
}

void SearchMachine::Open(uint32_t number) {
  open_ = std::make_unique<Generation>(number, version_, configuration_.search);
  open_->SwitchOn(mutation_);
}

void SearchMachine::OrderStep(SearchEffects& effects) {
  const SearchConfig& config = open_->config();
  auto record = std::make_shared<GenerationRecord>();
  record->version = version_ + 1;
  record->generation = open_->number();
  record->num_pairs = open_->num_pairs();
  record->config_version = config_version();
  record->learning_rate = configuration_.schedule.LearningRate(version_ + 1);
  record->sigma = open_->sigma();
  record->pairs = open_->ToldPairs();
  record->losses = open_->ToldLossesInOrder();
  record->evaluated = open_->evaluated();
  record->opened = opened_;
  record->closed = now_;
  auto shaped = std::make_shared<ShapedLosses>(
      Shape(config, {record->pairs, record->losses, record->evaluated, record->sigma}));
  if (mutation_ == SearchMutation::kWrongDivisor) {
    shaped->factor *= static_cast<double>(record->pairs.size()) / record->num_pairs;
  }

  SearchNumbers numbers;
  const LossSpread spread = SpreadOf(record->losses);
  numbers.generation = record->generation;
  numbers.num_pairs = record->num_pairs;
  numbers.num_counted = static_cast<uint32_t>(record->pairs.size());
  numbers.num_dropped = open_->num_dropped();
  numbers.num_non_finite = open_->num_non_finite();
  numbers.num_ties = spread.num_ties;
  numbers.loss_mean = spread.mean;
  numbers.loss_deviation = spread.deviation;
  numbers.loss_min = spread.min;
  numbers.loss_max = spread.max;
  numbers.evaluated_loss = record->evaluated;
  numbers.sigma = record->sigma;
  numbers.num_examples = open_->num_examples();
  if (config.keeps_best()) {
    numbers.accepted = shaped->kept_pair.has_value();
  } else if (config.shaping == Shaping::kNone) {
    const auto sigma = static_cast<double>(record->sigma);
    numbers.gradient_learning_rate =
        record->learning_rate * (config.scale == EstimateScale::kTutorial ? sigma * sigma : 1) *
        GainOf(config, numbers.num_counted);
  }
  StepReport report;
  report.learning_rate = record->learning_rate;
  report.contributors = numbers.num_counted;
  report.total_weight = numbers.num_counted;
  // Derivatives are no losses, and an infinite one has no mean.
  report.loss = numbers.evaluated_loss;
  if (!report.loss.has_value() && spread.num_finite > 0 &&
      config.told_differences() != Differences::kDirectional) {
    report.loss = spread.mean;
  }

  StepOrder order;
  order.number = version_ + 1;
  order.learning_rate = record->learning_rate;
  order.contributors = numbers.num_counted;
  order.total_weight = numbers.num_counted;
  effects.step = SearchOrder{order, record->generation, record->sigma, shaped};
  closed_ = Closed{std::move(record), std::move(report), numbers, std::move(shaped), 0, 0};
}

// With g = sum_p a_p eps_p, a_p = c w_p, over n independent pairs:
//   S = (|g|^2 - sum a_p^2 |eps_p|^2) n / (n - 1)   has the expectation |E g|^2, because only
//   products
//                                                   of two different pairs are left, and
//   E |g - E g|^2 = E |g|^2 - |E g|^2               is estimated by |g|^2 - S.
// In place of |eps_p|^2 stands its mean under the weight a_p^2. For signs it is d. For normals it
// is d + 2 where losses are linear in dW, so that a_p is <G, eps_p> times a constant:
//   E <G, e>^2 |e|^2 = (d + 2) |G|^2,
// and d where losses are mere noise: d + 2 is taken there too, and is 2 / d of it too much. Low
// rank perturbations are taken for dense ones; for a matrix of m x n at rank 1 it would be (m + 2)
// (n + 2) instead of m n + 2.
std::optional<double> SearchMachine::SignalToNoise(double gradient_norm) const {
  const std::vector<PairWeight>& weights = closed_->shaped->weights;
  if (configuration_.search.keeps_best() || weights.size() < 2) return std::nullopt;
  const double factor = closed_->shaped->factor;
  double sum = 0;
  for (const PairWeight& pair : weights) {
    const double share = factor * static_cast<double>(pair.weight);
    sum += share * share;
  }
  const double all = gradient_norm * gradient_norm;
  const bool normal = configuration_.search.noise == SearchNoise::kNormal;
  const double by_chance =
      (static_cast<double>(configuration_.num_trained) + (normal ? 2 : 0)) * sum;
  const auto n = static_cast<double>(weights.size());
  const double signal = std::max(0.0, (all - by_chance) * n / (n - 1));
  const double noise = all - signal;
  if (!std::isfinite(signal) || !(noise > 0)) return std::nullopt;
  return signal / noise;
}

void SearchMachine::On(const StepTaken& taken, SearchEffects& effects) {
  TALWEG_CHECK(closed_.has_value());
  closed_->numbers.weight_norm = taken.weight_norm;
  closed_->numbers.signal_to_noise = SignalToNoise(taken.gradient_norm);
  Closed closed = *std::exchange(closed_, std::nullopt);
  closed.record->parameters_checksum = taken.parameters_checksum;
  closed.report.gradient_norm = taken.gradient_norm;
  closed.report.clip_factor = taken.clip_factor;
  closed.report.update_norm = taken.update_norm;
  closed.report.num_non_finite = taken.num_non_finite;
  closed.report.first_non_finite = taken.first_non_finite;
  closed.report.state_digest = taken.state_digest;
  closed.report.search = std::make_shared<const SearchNumbers>(closed.numbers);
  num_given_up_ = 0;
  num_given_up_non_finite_ = 0;
  last_step_ = std::make_shared<const StepReport>(std::move(closed.report));
  ++version_;
  effects.made = std::move(closed.record);
  effects.durable.emplace_back(GenerationMade{effects.made});
  OpenNext();
  ServeWaiting(effects);
  // Not before those that wait: they might wait for ever.
  if (closed.capacity > 0) effects.next = LeaseTo(closed.teller, closed.capacity);
}

void SearchMachine::On(const ConfigureSearch& configure, SearchEffects& effects) {
  effects.durable.emplace_back(SearchConfigured{configure.config_version});
  if (open_->has_begun() && !finished()) {
    next_ = configure;
    return;
  }
  // Its number is another: a lease that was given before a restart, which forgot it, is for the
  // generation before, and its losses were measured as that one said.
  const bool keeps_number = finished() || mutation_ == SearchMutation::kKeepNumber;
  const uint32_t number = open_->number() + (keeps_number ? 0 : 1);
  next_.reset();
  configuration_ = configure;
  Open(number);
  // Leases of workers may have become shorter, and there may be more to evaluate.
  workers_.LookAtAll(now_);
  ServeWaiting(effects);
}

// --- What is told.

GenerationDescription SearchMachine::Describe(absl::Time now) const {
  GenerationDescription description;
  description.generation = open_->number();
  description.version = version_;
  description.num_pairs = open_->num_pairs();
  description.num_told = open_->num_told();
  description.num_leased = open_->num_leased();
  description.num_dropped = open_->num_dropped();
  description.num_given_up = num_given_up_;
  description.num_given_up_non_finite = num_given_up_non_finite_;
  description.needs_evaluation = open_->NeedsEvaluation();
  const SearcherRules rules{*open_, now_, LeaseEnd(), mutation_};
  workers_.table().ForEach([&](uint32_t index) {
    const Searcher& worker = workers_[index];
    if (rules.HoldsLease(worker)) ++description.num_leases;
    if (!worker.calls.empty()) ++description.num_waiting;
  });
  if (open_->has_begun()) description.open = std::max(absl::ZeroDuration(), now - opened_);
  if (open_->Deadline() != absl::InfiniteFuture()) {
    description.closes_in = std::max(absl::ZeroDuration(), open_->Deadline() - now);
  }
  return description;
}

}  // namespace talweg::core
