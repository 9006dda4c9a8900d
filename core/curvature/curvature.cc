// SPDX-License-Identifier: Apache-2.0
#include "core/curvature/curvature.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace talweg::core {
namespace {

uint64_t Square(uint64_t side) { return side * side; }

}  // namespace

Curvature::Curvature(std::vector<KroneckerLayer> layers)
    : layers_(std::move(layers)),
      factors_(NumStatistics(layers_)),
      inverse_versions_(layers_.size()),
      dampings_(2 * layers_.size()) {
  uint64_t begin = 0;
  for (const KroneckerLayer& layer : layers_) {
    begins_.push_back(begin);
    begin += layer.num_statistics();
    for (const size_t factor : {0, 1}) inverses_.emplace_back(Square(layer.side(factor)));
  }
}

uint64_t Curvature::StateBytes(const std::vector<KroneckerLayer>& layers) {
  uint64_t elements = NumStatistics(layers);
  for (const KroneckerLayer& layer : layers) {
    elements += Square(layer.side(0)) + Square(layer.side(1));
  }
  return elements * sizeof(float);
}

uint64_t Curvature::RefreshBytes(const std::vector<KroneckerLayer>& layers) {
  uint64_t bytes = 0;
  for (const KroneckerLayer& layer : layers) {
    bytes += FactorInverse::MemoryBytes(layer.side(0)) + FactorInverse::MemoryBytes(layer.side(1));
  }
  return bytes;
}

void Curvature::BeginAverage() {
  const bool takes_whole = factors_version_ == 0 && settings_.starts_with_first;
  const double kept = takes_whole ? 0 : settings_.kept;
  keep_ = static_cast<float>(kept);
  take_ = static_cast<float>(1 - kept);
  kept_product_ *= kept;
  factors_version_ = static_cast<double>(number_);
}

void Curvature::AverageShard(Shard shard, absl::Span<const float> statistics) {
  float* average = factors_.data();
  const float* now = statistics.data();
  for (size_t i = shard.begin; i < shard.end; ++i) {
    average[i] = keep_ * average[i] + take_ * now[i];
  }
}

bool Curvature::NeedsRefresh() const {
  if (!HasNewFactors()) return false;
  if (settings_.refresh == RefreshMode::kSynchronous) return WantsRefresh();
  if (finished_version_ == 0 || number_ <= settings_.refresh_each_until) return true;
  return settings_.max_inverse_age > 0 && static_cast<double>(number_) - finished_version_ >
                                              static_cast<double>(settings_.max_inverse_age);
}

bool Curvature::WantsRefresh() const {
  if (!HasNewFactors()) return false;
  return refreshed_version_ == 0 || number_ <= settings_.refresh_each_until ||
         static_cast<double>(number_) - refreshed_version_ >=
             static_cast<double>(settings_.refresh_every);
}

std::unique_ptr<InverseRefresh> Curvature::BeginRefresh(absl::Span<const double> coupled) {
  TALWEG_CHECK(factors_version_ > 0 && coupled.size() == layers_.size());
  refreshed_version_ = factors_version_;
  auto refresh = std::make_unique<InverseRefresh>(static_cast<uint64_t>(factors_version_));
  const double scale = 1 / (1 - kept_product_);
  for (size_t index = 0; index < layers_.size(); ++index) {
    const KroneckerLayer& layer = layers_[index];
    std::vector<float> packed[2];
    FactorSize sizes[2];
    const float* from = factors_.data() + begins_[index];
    for (const size_t factor : {0, 1}) {
      const uint64_t side = layer.side(factor);
      packed[factor].resize(PackedSize(side));
      for (float& value : packed[factor]) {
        value = static_cast<float>(scale * static_cast<double>(*from++));
      }
      sizes[factor] = {PackedTrace(side, packed[factor]), side};
    }
    const FactorDamping damping =
        ShareDamping(settings_.lambda + coupled[index], PiOf(settings_.pi, sizes[0], sizes[1]));
    refresh->Add(index, 0, layer.side(0), std::move(packed[0]), damping.inputs);
    refresh->Add(index, 1, layer.side(1), std::move(packed[1]), damping.outputs);
  }
  std::stable_sort(
      refresh->tasks().begin(), refresh->tasks().end(),
      [](const InverseRefresh::Task& a, const InverseRefresh::Task& b) { return a.cost > b.cost; });
  return refresh;
}

bool Curvature::Install(InverseRefresh& refresh) {
  const auto version = static_cast<double>(refresh.factors_version());
  if (version < finished_version_) return false;
  finished_version_ = version;
  std::vector<bool> has_failed(layers_.size());
  for (InverseRefresh::Task& task : refresh.tasks()) {
    const InverseOutcome outcome = task.inverse.outcome();
    if (outcome == InverseOutcome::kMoreDamping) ++num_raised_;
    if (outcome != InverseOutcome::kFailed) continue;
    ++num_failed_;
    has_failed[task.layer] = true;
  }
  bool any = false;
  for (InverseRefresh::Task& task : refresh.tasks()) {
    const size_t layer = task.layer;
    if (has_failed[layer] || version < inverse_versions_[layer]) continue;
    const size_t index = 2 * layer + task.factor;
    inverses_[index] = task.inverse.TakeInverse();
    dampings_[index] = task.inverse.damping();
    any = true;
  }
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    if (!has_failed[layer]) inverse_versions_[layer] = std::max(inverse_versions_[layer], version);
  }
  return any;
}

uint64_t Curvature::InverseVersion() const {
  double oldest = 0;
  for (const double version : inverse_versions_) {
    if (version > 0 && (oldest == 0 || version < oldest)) oldest = version;
  }
  return static_cast<uint64_t>(oldest);
}

size_t Curvature::NumWithoutInverses() const {
  return static_cast<size_t>(std::count(inverse_versions_.begin(), inverse_versions_.end(), 0.0));
}

void Curvature::VisitState(StateVisitor& visitor) {
  constexpr absl::string_view kSides[] = {"inputs", "outputs"};
  visitor.Slot("factors", factors_.span());
  visitor.Scalar("factors_kept_product", kept_product_);
  visitor.Scalar("factors_version", factors_version_);
  visitor.Scalar("refreshed_version", refreshed_version_);
  visitor.Scalar("finished_version", finished_version_);
  visitor.Scalar("num_raised_dampings", num_raised_);
  visitor.Scalar("num_failed_inverses", num_failed_);
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    visitor.Scalar(absl::StrCat("inverse_version_", layer), inverse_versions_[layer]);
    for (const size_t factor : {0, 1}) {
      const size_t index = 2 * layer + factor;
      visitor.Scalar(absl::StrCat("inverse_damping_", layer, "_", kSides[factor]),
                     dampings_[index]);
      visitor.Slot(absl::StrCat("inverse_", layer, "_", kSides[factor]),
                   absl::MakeSpan(inverses_[index]));
    }
  }
}

}  // namespace talweg::core
