// SPDX-License-Identifier: Apache-2.0
//
// Gradient descent: a step against the gradient.
//
//   W <- W - eta g
//
// Source: Jimmy Ba, "Optimization I": min L(W + dW) to first order with a small |dW|.
// State: none. A step reads and writes 12 bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct GradientDescentConfig {
  static auto Fields() { return std::tuple<>(); }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class GradientDescent final : public Optimizer {
 public:
  using Configuration = GradientDescentConfig;

  static uint64_t StateBytes(const GradientDescentConfig& config, const ParameterSpace& space);

  GradientDescent(const GradientDescentConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // There is no state to name.
  void VisitState(StateVisitor& visitor) override;
};

}  // namespace talweg::core
