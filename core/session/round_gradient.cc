// SPDX-License-Identifier: Apache-2.0
#include "core/session/round_gradient.h"

#include <utility>

#include "core/base/check.h"

namespace talweg::core {

void RoundGradient::Prepare() {
  reducer_.Prepare(unfolded_.size());
  if (reduced_ == nullptr) reduced_ = std::make_unique<StagedGradient>(num_elements_);
}

void RoundGradient::Add(std::shared_ptr<StagedGradient> gradient, float weight) {
  TALWEG_CHECK(gradient->size() == num_elements_);
  unfolded_.push_back({std::move(gradient), weight});
}

std::vector<WeightedVector> RoundGradient::Unfolded() const {
  std::vector<WeightedVector> vectors;
  vectors.reserve(unfolded_.size());
  for (const Contributed& one : unfolded_) {
    vectors.push_back({one.gradient->values().data(), one.weight});
  }
  return vectors;
}

void RoundGradient::AddFoldStage(Work& work) {
  TALWEG_CHECK(!unfolded_.empty());
  work.Add({[this] { return NumShards(num_elements_); },
            [this](size_t piece) { reducer_.FoldShard(piece); },
            [this] { reducer_.BeginFold(Unfolded()); },
            [this] {
              reducer_.EndFold();
              unfolded_.clear();
            }});
}

void RoundGradient::AddStages(const StepOrder& order, std::shared_ptr<const GroupMap> map,
                              Work& work) {
  work.Add({[this] { return NumShards(num_elements_); },
            [this](size_t piece) {
              reducer_.CloseShard(piece);
              reduced_->Measure(ShardAt(piece, num_elements_));
            },
            [this, order, map = std::move(map)] {
              reduced_->Begin(map);
              reducer_.BeginClose(order, Unfolded(), reduced_->values());
            }});
}

void RoundGradient::Release() {
  reducer_.EndClose();
  unfolded_.clear();
}

}  // namespace talweg::core
