// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a round of several contributions. The contributions of the open round are kept
// until the caller folds them, several at a time, into the round's sums (core/rounds/reducer.h).
// The step that closes the round reduces the sums and the contributions that are not folded yet.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/rounds/reducer.h"
#include "core/session/gradient_source.h"
#include "core/session/staged_gradient.h"
#include "core/session/work.h"

namespace talweg::core {

// Thread-compatible.
class RoundGradient final : public GradientSource {
 public:
  RoundGradient(const AggregationConfig& config, size_t num_elements)
      : num_elements_(num_elements), reducer_(config, num_elements) {}

  // Allocates the memory that one more contribution may need. Throws std::bad_alloc.
  void Prepare();

  // Adds a contribution, whole and finite, to the open round. Its gradient is released once it was
  // folded.
  void Add(std::shared_ptr<StagedGradient> gradient, float weight);
  // How many contributions were added and are not folded yet.
  size_t num_unfolded() const { return unfolded_.size(); }

  // Adds the stage that folds the contributions that are not folded yet.
  void AddFoldStage(Work& work);

  // Reduces the whole round.
  void AddStages(const StepOrder& order, std::shared_ptr<const GroupMap> map, Work& work) override;
  StagedGradient& gradient() override { return *reduced_; }
  void Release() override;

  // Bytes that the open round needs beyond AggregationConfig::RoundBytes. No fold may be under way.
  uint64_t ExtraBytes() const { return reducer_.ExtraBytes(); }

 private:
  struct Contributed {
    std::shared_ptr<StagedGradient> gradient;
    float weight;
  };

  std::vector<WeightedVector> Unfolded() const;

  const size_t num_elements_;
  Reducer reducer_;
  std::vector<Contributed> unfolded_;        // in the order in which they came
  std::unique_ptr<StagedGradient> reduced_;  // null before the first Prepare
};

}  // namespace talweg::core
