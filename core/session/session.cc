// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/checksum.h"
#include "core/base/reasons.h"
#include "core/base/shard.h"
#include "core/base/status_macros.h"
#include "core/kernels/average_update.h"
#include "core/kernels/squared_norm.h"
#include "core/optimizers/rounding.h"
#include "core/session/saved_config.h"

namespace talweg::core {
namespace {

class SlotWriter final : public StateVisitor {
 public:
  explicit SlotWriter(ByteWriter& writer) : writer_(writer) {}
  void Slot(absl::string_view name, absl::Span<float> values) override {
    writer_.Text(name);
    writer_.Floats(values);
  }
  void Scalar(absl::string_view name, double& value) override {
    writer_.Text(name);
    writer_.Double(value);
  }

 private:
  ByteWriter& writer_;
};

class SlotReader final : public StateVisitor {
 public:
  explicit SlotReader(ByteReader& reader) : reader_(reader) {}
  void Slot(absl::string_view name, absl::Span<float> values) override {
    if (ReadName(name)) status_ = reader_.Floats(values);
  }
  void Scalar(absl::string_view name, double& value) override {
    if (ReadName(name)) status_ = reader_.Double(value);
  }
  const absl::Status& status() const { return status_; }

 private:
  bool ReadName(absl::string_view name) {
    if (!status_.ok()) return false;
    std::string found;
    status_ = reader_.Text(found);
    if (status_.ok() && found != name) {
      status_ = MakeError(Reason::kStateCorrupt,
                          absl::StrCat("state has slot ", found, ", expected ", name));
    }
    return status_.ok();
  }

  ByteReader& reader_;
  absl::Status status_;
};

// Of two numbers that are finite and not negative: the largest double instead of an infinity, which
// times a zero would be NaN.
double FiniteProduct(double a, double b) {
  return std::min(a * b, std::numeric_limits<double>::max());
}

}  // namespace

Session::Session(SessionConfig config, uint64_t history, std::shared_ptr<Parameters> initial)
    : config_(std::move(config)),
      machine_(history, {config_.schedule, config_.aggregation.value(), config_version_}),
      optimizer_(config_.method->create(*config_.optimizer, config_.Space())),
      parameters_(std::move(initial)),
      average_(config_.average.value().decay > 0 ? num_elements() : 0),
      reducer_(config_.aggregation.value(), num_elements()),
      block_sums_(NumBlocks(num_elements())) {
  TALWEG_CHECK(parameters_->values.size() == num_elements() && config_.group_map != nullptr);
  if (average_.size() > 0) {
    const absl::Span<const float> values = parameters_->values.span();
    std::copy(values.begin(), values.end(), average_.data());
  }
}

Effects Session::Handle(const Event& event, absl::Time now) { return machine_.Handle(event, now); }

absl::Status Session::Reconfigure(uint64_t history, const SessionConfig& config, absl::Time now) {
  if (history != 0) TALWEG_RETURN_IF_ERROR(machine_.CheckHistory(history));
  TALWEG_RETURN_IF_ERROR(CheckLiveChange(newest_config(), config));
  if (SameConfig(newest_config(), config)) return absl::OkStatus();
  ++config_version_;
  machine_.Handle(Configure{config.schedule, config.aggregation.value(), config_version_}, now);
  if (machine_.config_version() == config_version_) {
    PutInForce(config);
  } else {
    next_config_ = config;
  }
  return absl::OkStatus();
}

void Session::PutInForce(SessionConfig config) {
  optimizer_->Configure(*config.optimizer);
  config_ = std::move(config);
  next_config_.reset();
}

Session::GroupStep Session::GroupStepOf(size_t group, double learning_rate) const {
  const GroupConfig settings =
      group == 0 ? GroupConfig{} : config_.groups[group - 1].config.value();
  const WeightDecayConfig& decay = config_.weight_decay.value();
  GroupStep step;
  step.frozen = settings.frozen;
  step.rates.learning_rate = FiniteProduct(learning_rate, settings.learning_rate_factor);
  step.rates.decay = FiniteProduct(decay.decoupled, settings.decay_factor);
  const double max_value =
      settings.max_value > 0 ? settings.max_value : config_.clipping.value().max_value;
  if (max_value > 0) step.preparation.max_value = ToFloat(max_value);
  step.preparation.decay = ToFloat(decay.coupled * settings.decay_factor);
  return step;
}

absl::Status Session::Prepare() {
  if (!config_.aggregation.value().folds()) return absl::OkStatus();
  try {
    reducer_.Prepare(taken_gradients_.size());
    if (reduced_ == nullptr) reduced_ = std::make_unique<StagedGradient>(num_elements());
  } catch (const std::bad_alloc&) {
    return MakeError(Reason::kMemoryQuota, "the system has no memory for a round");
  }
  return absl::OkStatus();
}

void Session::Take(const Effects& effects, std::shared_ptr<StagedGradient> gradient) {
  if (!effects.fold) return;
  TALWEG_CHECK(gradient->size() == num_elements());
  taken_gradients_.push_back({std::move(gradient), effects.weight});
}

std::vector<WeightedVector> Session::Unfolded() const {
  std::vector<WeightedVector> vectors;
  vectors.reserve(taken_gradients_.size());
  for (const Taken& taken : taken_gradients_) {
    vectors.push_back({taken.gradient->values().data(), taken.weight});
  }
  return vectors;
}

void Session::BeginFold() {
  TALWEG_CHECK(stages_.empty() && !taken_gradients_.empty());
  reducer_.BeginFold(Unfolded());
  stages_.push_back({StageKind::kFold});
}

void Session::BeginStep(const Effects& effects, std::shared_ptr<StagedGradient> gradient,
                        std::shared_ptr<Parameters> to) {
  TALWEG_CHECK(stages_.empty() && to->values.size() == num_elements());
  order_ = *effects.step;
  taken_ = StepTaken{};
  next_ = std::move(to);
  next_->version = order_->number;
  // Where several contributions may make a version, one is reduced as they are: when it was folded
  // makes no difference then, not even to the sign of a zero.
  if (gradient != nullptr && config_.aggregation.value().folds()) {
    taken_gradients_.push_back({std::move(gradient), effects.weight});
    gradient = nullptr;
  }
  if (gradient != nullptr) {
    TALWEG_CHECK(order_->contributors == 1 && gradient->size() == num_elements());
    single_ = std::move(gradient);
    gradient_ = single_.get();
    if (gradient_->map() != config_.group_map.get()) {
      // The groups have changed since it was measured.
      gradient_->Begin(config_.group_map);
      stages_.push_back({StageKind::kMeasure});
    }
  } else {
    gradient_ = reduced_.get();
    gradient_->Begin(config_.group_map);
    reducer_.BeginClose(*order_, Unfolded(), gradient_->values());
    stages_.push_back({StageKind::kClose});
  }
  optimizer_->BeginStep(order_->number);
  stages_.push_back({StageKind::kApply});
  const size_t num_passes = optimizer_->NumPasses();
  for (size_t pass = 0; pass < num_passes; ++pass) stages_.push_back({StageKind::kPass, pass});
  if (num_passes > 0) stages_.push_back({StageKind::kFinish});
  if (stages_.front().kind == StageKind::kApply) OpenApply();
}

size_t Session::NumPieces(size_t stage) const {
  if (stages_[stage].kind == StageKind::kPass) return optimizer_->NumTasks(stages_[stage].pass);
  return NumShards(num_elements());
}

void Session::RunPiece(size_t stage, size_t index) {
  const Shard shard = ShardAt(index, num_elements());
  switch (stages_[stage].kind) {
    case StageKind::kMeasure:
      return gradient_->Measure(shard);
    case StageKind::kFold:
      return reducer_.FoldShard(index);
    case StageKind::kClose:
      reducer_.CloseShard(index);
      return gradient_->Measure(shard);
    case StageKind::kApply:
      Apply(shard);
      if (optimizer_->NumPasses() == 0) Finish(shard);
      return;
    case StageKind::kPass: {
      const auto rates_of = [this](size_t tensor) {
        const GroupStep& step = group_steps_[config_.group_map->GroupOfTensor(tensor)];
        return step.frozen ? nullptr : &step.rates;
      };
      return optimizer_->RunTask(stages_[stage].pass, index, rates_of, parameters_->values.span(),
                                 next_->values.span());
    }
    case StageKind::kFinish:
      return Finish(shard);
  }
}

void Session::EndStage(size_t stage) {
  if (stages_[stage].kind == StageKind::kApply) optimizer_->EndPass(0);
  if (stages_[stage].kind == StageKind::kPass) optimizer_->EndPass(stages_[stage].pass + 1);
  if (stage + 1 < stages_.size() && stages_[stage + 1].kind == StageKind::kApply) OpenApply();
}

void Session::OpenApply() {
  const std::vector<double> sums = gradient_->SquaredNorms();
  const auto factor_of = [](double max_norm, double sum) {
    return max_norm > 0 ? std::min(1.0, max_norm / (std::sqrt(sum) + 1e-6)) : 1.0;
  };
  group_steps_.clear();
  double all = 0;
  double shared = 0;
  for (size_t group = 0; group < sums.size(); ++group) {
    group_steps_.push_back(GroupStepOf(group, order_->learning_rate));
    if (group_steps_.back().frozen) continue;
    all += sums[group];
    const double own = group == 0 ? 0 : config_.groups[group - 1].config.value().max_norm;
    if (own == 0) shared += sums[group];
  }
  for (size_t group = 0; group < sums.size(); ++group) {
    if (group_steps_[group].frozen) continue;
    const double own = group == 0 ? 0 : config_.groups[group - 1].config.value().max_norm;
    const double factor = own > 0 ? factor_of(own, sums[group])
                                  : factor_of(config_.clipping.value().max_norm, shared);
    group_steps_[group].preparation.factor = ToFloat(factor);
    taken_.clip_factor = std::min(taken_.clip_factor, factor);
  }
  taken_.gradient_norm = std::sqrt(all);
}

void Session::Apply(Shard shard) {
  const absl::Span<const float> from = parameters_->values.span();
  const absl::Span<float> to = next_->values.span();
  const absl::Span<const float> gradient = gradient_->values();
  config_.group_map->ForEachRun(shard, [&](Shard part, size_t group) {
    const GroupStep& step = group_steps_[group];
    if (step.frozen) {
      std::copy(from.begin() + part.begin, from.begin() + part.end, to.begin() + part.begin);
    } else if (step.preparation.IsIdentity()) {
      optimizer_->Apply(step.rates, part, View(gradient, part), from, to);
    } else {
      // A block at a time: what is prepared stays in the nearest cache.
      alignas(AlignedBuffer::kAlignment) float prepared[kBlock];
      ForEachBlock(part, [&](Shard block) {
        const absl::Span<float> ready(prepared, block.size());
        PrepareGradient(step.preparation, View(gradient, block), View(from, block), ready);
        optimizer_->Apply(step.rates, block, ready, from, to);
      });
    }
  });
}

void Session::Finish(Shard shard) {
  const absl::Span<const float> from = parameters_->values.span();
  const absl::Span<float> to = next_->values.span();
  ForEachBlock(shard, [&](Shard block) {
    block_sums_[block.begin / kBlock] =
        SquaredDistance(View(absl::MakeConstSpan(to), block), View(from, block));
  });
  if (average_.size() > 0) {
    AverageUpdate(ToFloat(1 - config_.average.value().decay), View(absl::MakeConstSpan(to), shard),
                  View(average_.span(), shard));
  }
}

Effects Session::End(absl::Time now) {
  stages_.clear();
  if (!order_.has_value()) {
    reducer_.EndFold();
    taken_gradients_.clear();
    return {};
  }
  if (single_ == nullptr) {
    reducer_.EndClose();
    taken_gradients_.clear();
  }
  single_.reset();
  gradient_ = nullptr;
  order_.reset();
  double sum = 0;
  for (const double block_sum : block_sums_) sum += block_sum;
  taken_.update_norm = std::sqrt(sum);
  parameters_ = std::move(next_);
  next_.reset();
  Effects effects = machine_.Handle(taken_, now);
  if (next_config_.has_value()) PutInForce(*std::move(next_config_));
  return effects;
}

bool Session::IsParameters(Point point) const {
  return point == Point::kLookahead ? !optimizer_->HasLookahead() : average_.size() == 0;
}

double Session::NextLearningRate() const {
  return machine_.schedule().LearningRate(machine_.version() + 1);
}

void Session::ReadPoint(Point point, Shard shard, absl::Span<float> to) const {
  TALWEG_CHECK(stages_.empty());
  const absl::Span<const float> from = parameters_->values.span();
  const absl::Span<const float> source =
      point == Point::kAverage && average_.size() > 0 ? average_.span() : from;
  std::copy(source.begin() + shard.begin, source.begin() + shard.end, to.begin() + shard.begin);
  if (point != Point::kLookahead || !optimizer_->HasLookahead()) return;
  const double eta = NextLearningRate();
  config_.group_map->ForEachRun(shard, [&](Shard part, size_t group) {
    const GroupStep step = GroupStepOf(group, eta);
    if (!step.frozen) optimizer_->Lookahead(step.rates, part, from, to);
  });
}

void Session::VisitSlots(StateVisitor& visitor) {
  optimizer_->VisitState(visitor);
  if (average_.size() > 0) visitor.Slot("average", average_.span());
}

void Session::WriteState(ByteWriter& writer) {
  TALWEG_CHECK(stages_.empty());
  WriteConfig(newest_config(), writer);
  writer.Uint64(config_version_);
  machine_.Save(writer);
  writer.Floats(parameters_->values.span());
  SlotWriter slots(writer);
  VisitSlots(slots);
}

std::string Session::Save() {
  ByteWriter writer;
  WriteStateFormat(writer);
  WriteState(writer);
  writer.Uint32(Crc32c(writer.bytes()));
  return std::move(writer).Take();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Load(absl::string_view bytes, absl::Time now,
                                                       uint64_t history) {
  constexpr size_t kChecksumBytes = sizeof(uint32_t);
  if (bytes.size() < kChecksumBytes) {
    return MakeError(Reason::kStateCorrupt, "state is too short");
  }
  const absl::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  uint32_t checksum = 0;
  ByteReader tail(bytes.substr(body.size()));
  TALWEG_RETURN_IF_ERROR(tail.Uint32(checksum));
  if (checksum != Crc32c(body)) {
    return MakeError(Reason::kStateCorrupt, "state does not have the checksum it was written with");
  }
  ByteReader reader(body);
  TALWEG_ASSIGN_OR_RETURN(const uint32_t format, ReadStateFormat(reader));
  TALWEG_ASSIGN_OR_RETURN(SessionConfig config, ReadConfig(reader, format));
  // What the layout claims must be there before memory is taken for it.
  const uint64_t num_elements = config.layout->num_elements();
  if (reader.remaining() / sizeof(float) < num_elements) {
    return MakeError(Reason::kStateCorrupt, "state is shorter than its layout");
  }
  auto parameters = std::make_shared<Parameters>(num_elements);
  auto session = std::make_unique<Session>(std::move(config), /*history=*/1, parameters);
  TALWEG_RETURN_IF_ERROR(reader.Uint64(session->config_version_));
  session->machine_.Handle(
      Configure{session->config_.schedule, session->config_.aggregation.value(),
                session->config_version_},
      now);
  TALWEG_RETURN_IF_ERROR(session->machine_.Load(reader, now, history));
  parameters->version = session->machine_.version();
  TALWEG_RETURN_IF_ERROR(reader.Floats(parameters->values.span()));
  SlotReader slots(reader);
  session->VisitSlots(slots);
  TALWEG_RETURN_IF_ERROR(slots.status());
  TALWEG_RETURN_IF_ERROR(reader.End());
  return session;
}

uint32_t Session::Checksum() {
  ChecksumWriter writer;
  WriteState(writer);
  return writer.checksum();
}

}  // namespace talweg::core
