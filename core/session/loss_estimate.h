// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a generation: an estimate from losses. The perturbations are drawn once more,
// shard by shard, and summed with what each pair weighs (core/search/fitness_shaping.h); no
// perturbation is ever kept as a vector. The buffer of the estimate is the only memory that it
// takes: 4 bytes a parameter.
#pragma once

#include <memory>
#include <vector>

#include "core/base/layout.h"
#include "core/noise/perturbation.h"
#include "core/search/search_config.h"
#include "core/search/search_event.h"
#include "core/session/gradient_source.h"
#include "core/session/staged_gradient.h"
#include "core/session/work.h"

namespace talweg::core {

// The perturbations that a session of this configuration draws over `layout`.
Perturbation PerturbationOf(const SearchConfig& config, const Layout& layout);

// Thread-compatible.
class LossEstimate final : public GradientSource {
 public:
  LossEstimate(const SearchConfig& config, const Layout& layout)
      : perturbation_(PerturbationOf(config, layout)) {}

  // Allocates the memory of the estimate. Throws std::bad_alloc.
  void Prepare();
  // What the next step is an estimate of.
  void Set(const SearchOrder& order);

  void AddStages(const StepOrder& order, std::shared_ptr<const GroupMap> map, Work& work) override;
  StagedGradient& gradient() override { return *gradient_; }
  void Release() override { shaped_.reset(); }

 private:
  const Perturbation perturbation_;
  std::unique_ptr<StagedGradient> gradient_;  // null before the first Prepare
  uint32_t generation_ = 0;
  float sigma_ = 0;
  std::shared_ptr<const ShapedLosses> shaped_;
};

}  // namespace talweg::core
