// SPDX-License-Identifier: Apache-2.0
//
// Nesterov's momentum: momentum whose gradient looks ahead.
//
//   TUTORIAL  m <- beta m + (1 - beta) g   W <- W - eta m               g at W - eta beta m
//   TORCH     m <- beta m + g              W <- W - eta (beta m + g)    g at W; the first m is g
//   KERAS     m <- beta m - eta g          W <- W + beta m - eta g      g at W
//
// TUTORIAL is Nesterov's own order: go to the point to which the momentum will carry the parameters
// anyway, and take the gradient there. Workers read that point (the section LOOKAHEAD); decoupled
// decay is not part of it. TORCH and KERAS keep their W at that point instead, so that g is taken
// at W itself. torch.optim refuses dampening with nesterov=True, and there is none here.
//
// Source: Jimmy Ba, "Optimization I"; torch.optim.SGD and keras.optimizers.SGD, nesterov=True.
// State: 4 bytes per parameter. A step reads and writes 20 bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct NesterovConfig {
  double beta = 0.9;  // share of m kept at each step
  Dialect dialect = Dialect::kTutorial;

  static auto Fields() {
    using C = NesterovConfig;
    return std::tuple{
        Field<C, double>{"beta", &C::beta, HalfOpen(0, 1)},
        DialectField<C>{
            "dialect", &C::dialect, {Dialect::kTutorial, Dialect::kTorch, Dialect::kKeras}}};
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Nesterov final : public Optimizer {
 public:
  using Configuration = NesterovConfig;

  static uint64_t StateBytes(const NesterovConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Nesterov(const NesterovConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // In dialect TUTORIAL the point is W - eta beta m, with the hyper-parameters of the coming step.
  bool HasLookahead() const override;
  void Lookahead(const StepRates& coming, Shard shard, absl::Span<const float> from,
                 absl::Span<float> to) const override;
  // Slot "m"; scalar "m_is_set", which is 0 until the first step and 1 from then on (see Momentum).
  void VisitState(StateVisitor& visitor) override;

 private:
  NesterovConfig config_;
  AlignedBuffer m_;
  double m_is_set_ = 0;
  bool first_ = false;  // the open step is the first
};

}  // namespace talweg::core
