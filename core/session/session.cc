// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/reasons.h"
#include "core/base/status_macros.h"
#include "core/kernels/exact_sum.h"
#include "core/kernels/negate.h"

namespace talweg::core {
namespace {

// For events that rounds and searches have in common.
SearchEvent ForSearch(const Event& event) {
  if (const auto* join = std::get_if<Join>(&event)) return *join;
  if (const auto* heartbeat = std::get_if<Heartbeat>(&event)) return *heartbeat;
  if (const auto* leave = std::get_if<Leave>(&event)) return *leave;
  if (const auto* ended = std::get_if<CallEnded>(&event)) return *ended;
  TALWEG_CHECK(std::holds_alternative<Tick>(event));
  return Tick{};
}

// Turns what a worker's own steps added to the parameters into a gradient.
void AddNegation(std::shared_ptr<StagedGradient> gradient, Work& work) {
  const size_t size = gradient->size();
  work.AddShards(size, [gradient = std::move(gradient)](Shard shard) {
    Negate(View(gradient->values(), shard));
  });
}

}  // namespace

Session::Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial)
    : config_(std::move(config)),
      parameters_(std::move(initial)),
      stepper_(config_, *parameters_),
      round_(config_.aggregation.value(), num_elements()) {
  TALWEG_CHECK(parameters_->values.size() == num_elements() && config_.group_map != nullptr);
  if (config_.takes_statistics()) {
    const uint64_t size = NumStatistics(config_.layer_table->layers);
    statistics_ = std::make_unique<RoundGradient>(AggregationConfig(), size);
    statistics_map_ = MapOfOne(size);
  }
  if (!config_.searches()) {
    rounds_.emplace(history,
                    Configure{config_.schedule, config_.aggregation.value(), config_version_});
    return;
  }
  search_.emplace(history, SearchConfiguration(config_));
  estimate_ = std::make_unique<LossEstimate>(config_.search.value(), *config_.layout);
  measures_ = std::make_unique<ParameterMeasures>(num_elements());
}

// --- Decisions.

absl::Status Session::Prepare(bool has_weight, AllocateParameters allocate, bool has_statistics) {
  TALWEG_RETURN_IF_ERROR(CheckSearches(false));
  const AggregationConfig& aggregation = config_.aggregation.value();
  if (has_weight && !aggregation.takes_weights()) {
    return MakeError(Reason::kFieldOutOfRange,
                     "the session's reduction takes no weights, and the contribution has one",
                     "header.weight");
  }
  if (next_parameters_ == nullptr) {
    TALWEG_ASSIGN_OR_RETURN(next_parameters_, allocate());
  }
  try {
    if (has_statistics) statistics_->Prepare();
    if (aggregation.folds()) round_.Prepare();
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for a round");
  }
  return absl::OkStatus();
}

Outcome Session::Contribute(ContributionInput& input, absl::Time now) {
  Contribution& contribution = input.contribution;
  const bool has_gradient = input.gradient != nullptr;
  const bool has_statistics = input.statistics != nullptr;
  TALWEG_CHECK(has_gradient != (contribution.abstains || contribution.is_statistics));
  contribution.num_samples = has_statistics ? input.statistics->shape().num_samples : 0;
  contribution.finite = (!has_gradient || input.gradient->finite()) &&
                        (!has_statistics || input.statistics->finite());
  contribution.digest = PayloadDigest(
      has_gradient ? input.gradient->Digest() : 0, contribution.base_version, input.losses,
      contribution.weight, input.is_difference, contribution.closes_round, contribution.abstains,
      has_statistics ? std::optional(input.statistics->Digest()) : std::nullopt,
      contribution.loss_change);
  if (!input.losses.empty()) contribution.loss = input.losses.front();

  const bool is_first = rounds_->num_folded() == 0;
  Outcome outcome{rounds_->Handle(contribution, now), nullptr};
  Effects& effects = outcome.effects;
  if (!contribution.finite && effects.answer.has_value() && !effects.answer->replayed &&
      effects.answer->verdict == Verdict::kRejectedNonFinite) {
    effects.answer->fault = FaultOf(input);
  }
  // A round of one contribution steps with that gradient as it is. A refused contribution may also
  // close a round, which consists of other contributions then.
  const bool is_whole_round = is_first && effects.step.has_value();
  if (effects.takes_statistics) {
    // The staging that `ready` stands in lives until the statistics are folded.
    statistics_->Add({input.statistics, input.statistics->ready().get()},
                     static_cast<float>(contribution.num_samples));
  }
  std::unique_ptr<SingleContribution> single;
  if (effects.fold || is_whole_round) {
    if (input.is_difference) {
      outcome.work = std::make_unique<Work>();
      AddNegation(input.gradient, *outcome.work);
    }
    // If several contributions may make a version, a single contribution is reduced in the same way
    // as several: then it makes no difference when it was folded, not even to the sign of a zero.
    if (effects.fold || config_.aggregation.value().folds()) {
      round_.Add(std::move(input.gradient), effects.weight);
    } else {
      single = std::make_unique<SingleContribution>(std::move(input.gradient));
    }
  }
  if (effects.step.has_value()) {
    GradientSource& source = single != nullptr ? static_cast<GradientSource&>(*single) : round_;
    TALWEG_CHECK(single == nullptr || effects.step->contributors == 1);
    outcome.work = BeginStep(*effects.step, source, std::move(single), std::move(outcome.work));
  } else if (effects.fold && (input.returns_gradient || num_unfolded() >= kMaxFold)) {
    if (outcome.work == nullptr) outcome.work = std::make_unique<Work>();
    round_.AddFoldStage(*outcome.work);
  }
  if (effects.takes_statistics && !effects.step.has_value()) {
    if (outcome.work == nullptr) outcome.work = std::make_unique<Work>();
    statistics_->AddFoldStage(*outcome.work);
  }
  if (outcome.work != nullptr) Begin(*outcome.work, SessionPart::kRoundSums, Access::kChanges);
  return outcome;
}

GradientFault Session::FaultOf(const ContributionInput& input) const {
  if (input.gradient == nullptr || input.gradient->finite()) {
    const size_t layer = input.statistics->FirstNonFiniteLayer();
    return {.tensor = config_.layers[layer].weight,
            .may_have_overflowed = input.statistics->sent().is_narrow(),
            .in_statistics = true};
  }
  const StagedGradient& gradient = *input.gradient;
  const size_t element = gradient.FirstNonFinite();
  const absl::Span<const uint64_t> offsets = config_.layout->offsets();
  const auto after = std::upper_bound(offsets.begin(), offsets.end(), element);
  const auto tensor = static_cast<size_t>(after - offsets.begin() - 1);
  return {config_.layout->tensors()[tensor].name, element - offsets[tensor],
          gradient.is_narrow() && std::isinf(gradient.values()[element])};
}

Outcome Session::Handle(const Event& event, absl::Time now) {
  TALWEG_CHECK(!std::holds_alternative<Contribution>(event) &&
               !std::holds_alternative<StepTaken>(event));
  if (search_.has_value()) return Follow(search_->Handle(ForSearch(event), now));
  Outcome outcome{rounds_->Handle(event, now), nullptr};
  if (outcome.effects.step.has_value()) {
    outcome.work = BeginStep(*outcome.effects.step, round_, nullptr, nullptr);
    Begin(*outcome.work, SessionPart::kRoundSums, Access::kChanges);
  }
  return outcome;
}

Reconfigured Session::Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now) {
  Reconfigured outcome;
  absl::Status& status = outcome.effects.status;
  if (history != 0) status = CheckHistory(history);
  if (status.ok()) status = CheckLiveChange(newest_config(), config);
  if (!status.ok() || SameConfig(newest_config(), config)) return outcome;
  outcome.change = Configure{config.schedule, config.aggregation.value(), ++config_version_};
  next_config_ = config;
  if (search_.has_value()) {
    Outcome followed = Follow(search_->Handle(SearchConfiguration(config), now));
    outcome.effects = std::move(followed.effects);
    outcome.search = std::move(followed.search);
    return outcome;
  }
  outcome.effects = rounds_->Handle(*outcome.change, now);
  FollowPolicy();
  return outcome;
}

void Session::FollowPolicy() {
  if (next_config_.has_value() && policy_config_version() == config_version_) {
    PutInForce(*std::move(next_config_));
  }
}

void Session::PutInForce(SessionConfig config) {
  config_ = std::move(config);
  next_config_.reset();
  stepper_.Configure();
}

void Session::ReleaseUnusedMemory() {
  if (rounds_ ? rounds_->num_folded() == 0 : !search_->has_losses()) {
    next_parameters_.reset();
  }
}

// --- Work.

void Session::Begin(Work& work, SessionPart part, Access access) {
  const auto index = static_cast<size_t>(part);
  TALWEG_CHECK(!is_changing_[index]);
  TALWEG_CHECK(access != Access::kChanges || num_reading_[index] == 0);
  work.Use(part, access);
  if (access == Access::kReads) ++num_reading_[index];
  if (access == Access::kChanges) is_changing_[index] = true;
}

std::unique_ptr<Work> Session::BeginStep(const StepOrder& order, GradientSource& source,
                                         std::unique_ptr<SingleContribution> single,
                                         std::unique_ptr<Work> work) {
  TALWEG_CHECK(!open_step_.has_value() && next_parameters_ != nullptr);
  if (work == nullptr) work = std::make_unique<Work>();
  OpenStep& step = open_step_.emplace(OpenStep{&source,
                                               std::move(single),
                                               std::move(next_parameters_),
                                               work.get(),
                                               {},
                                               order.num_statistics,
                                               order.num_samples});
  step.to->version = order.number;
  Begin(*work, SessionPart::kSlots, Access::kChanges);
  if (order.num_statistics > 0) {
    StepOrder of_statistics;
    of_statistics.number = order.number;
    of_statistics.contributors = order.num_statistics;
    of_statistics.total_weight = order.num_samples;
    statistics_->AddStages(of_statistics, statistics_map_, *work);
  }
  stepper_.AddStages(order, source, order.num_statistics > 0 ? statistics_.get() : nullptr,
                     *parameters_, *step.to, *work);
  if (measures_ != nullptr) {
    work->AddShards(num_elements(), [this, to = step.to](Shard shard) {
      measures_->Measure(shard, to->values.span());
    });
  }
  if (config_.digests.value().IsDue(order.number)) {
    step.digest = std::make_shared<StateDigest>();
    AddDigestStages(order.number, step.to, stepper_, step.digest, *work);
  }
  return work;
}

std::unique_ptr<Work> Session::BeginFold() {
  if (num_unfolded() == 0) return nullptr;
  auto work = std::make_unique<Work>();
  Begin(*work, SessionPart::kRoundSums, Access::kChanges);
  round_.AddFoldStage(*work);
  return work;
}

std::unique_ptr<Work> Session::BeginRead(Point point, std::shared_ptr<Parameters> to) {
  auto work = std::make_unique<Work>();
  if (!IsParameters(point)) Begin(*work, SessionPart::kSlots, Access::kReads);
  to->version = parameters_->version;
  // The piece holds the version that it reads, because a step may make another version meanwhile.
  work->AddShards(num_elements(),
                  [this, point, from = parameters_, to = std::move(to)](Shard shard) {
                    ReadPoint(point, shard, from->values.span(), to->values.span());
                  });
  return work;
}

std::unique_ptr<Work> Session::BeginDigest(std::shared_ptr<StateDigest> to) {
  auto work = std::make_unique<Work>();
  Begin(*work, SessionPart::kSlots, Access::kReads);
  AddDigestStages(parameters_->version, parameters_, stepper_, std::move(to), *work);
  return work;
}

Ended Session::End(const Work& work, absl::Time now) {
  for (size_t part = 0; part < kNumSessionParts; ++part) {
    const Access access = work.UseOf(part);
    if (access == Access::kReads) --num_reading_[part];
    if (access == Access::kChanges) is_changing_[part] = false;
  }
  if (!open_step_.has_value() || open_step_->work != &work) return {};
  OpenStep step = *std::move(open_step_);
  open_step_.reset();
  step.source->Release();
  if (step.num_statistics > 0) statistics_->Release();
  parameters_ = std::move(step.to);
  Ended ended{stepper_.Result(*parameters_), {}};
  ended.step->curvature = CurvatureOf(step, now);
  if (step.digest != nullptr) ended.step->state_digest = step.digest->sha256;
  if (search_.has_value()) return EndSearchStep(*ended.step, now);
  ended.effects = rounds_->Handle(*ended.step, now);
  FollowPolicy();
  if (!is_refreshing_) ended.refresh = stepper_.BeginRefresh();
  if (ended.refresh != nullptr) {
    is_refreshing_ = true;
    refresh_begun_ = now;
  }
  return ended;
}

std::shared_ptr<const CurvatureNumbers> Session::CurvatureOf(const OpenStep& step, absl::Time now) {
  std::optional<CurvatureNumbers> numbers = stepper_.CurvatureReport();
  if (!numbers.has_value()) return nullptr;
  // Inverses that the step itself made.
  if (numbers->inverse_version > 0 && numbers->inverse_age_steps == 0) inverses_time_ = now;
  if (numbers->inverse_version > 0) {
    numbers->inverse_age_seconds = std::max(0.0, absl::ToDoubleSeconds(now - inverses_time_));
  }
  numbers->num_statistics = step.num_statistics;
  numbers->num_samples = step.num_samples;
  return std::make_shared<const CurvatureNumbers>(*numbers);
}

Outcome Session::Install(InverseRefresh& refresh, absl::Time now) {
  TALWEG_CHECK(is_refreshing_ && !open_step_.has_value());
  is_refreshing_ = false;
  if (!stepper_.Install(refresh)) return {};
  inverses_time_ = refresh_begun_;
  return {rounds_->Handle(InversesReady{refresh.factors_version()}, now), nullptr};
}

// --- Points.

bool Session::IsParameters(Point point) const {
  if (point == Point::kLookahead) return !stepper_.HasLookahead();
  return point == Point::kParameters || !stepper_.KeepsAverage();
}

double Session::NextLearningRate() const {
  const Schedule& schedule = rounds_ ? rounds_->schedule() : search_->configuration().schedule;
  return schedule.LearningRate(version() + 1);
}

void Session::ReadPoint(Point point, Shard shard, absl::Span<const float> from,
                        absl::Span<float> to) const {
  const bool is_average = point == Point::kAverage && stepper_.KeepsAverage();
  const absl::Span<const float> source = View(is_average ? stepper_.average() : from, shard);
  std::copy(source.begin(), source.end(), to.begin() + shard.begin);
  if (point == Point::kLookahead && stepper_.HasLookahead()) {
    stepper_.Lookahead(NextLearningRate(), shard, from, to);
  }
}

}  // namespace talweg::core
