// SPDX-License-Identifier: Apache-2.0
//
// Momentum: the step follows a running average of the gradients instead of the gradient.
//
//   TUTORIAL  m <- beta m + (1 - beta) g         W <- W - eta m   m starts at 0
//   TORCH     m <- beta m + (1 - dampening) g    W <- W - eta m   the first m is g
//   KERAS     m <- beta m - eta g                W <- W + m       m starts at 0
//
// If beta is 0, torch.optim keeps no m and does not dampen; here the formula holds.
//
// Source: Jimmy Ba, "Optimization I"; torch.optim.SGD; keras.optimizers.SGD.
// State: 4 bytes per parameter. A step reads and writes 20 bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct MomentumConfig {
  double beta = 0.9;  // share of m kept at each step
  Dialect dialect = Dialect::kTutorial;
  double dampening = 0;  // share of the gradient left out after the first step; TORCH

  static auto Fields() {
    using C = MomentumConfig;
    return std::tuple{
        Field<C, double>{"beta", &C::beta, HalfOpen(0, 1)},
        DialectField<C>{
            "dialect", &C::dialect, {Dialect::kTutorial, Dialect::kTorch, Dialect::kKeras}},
        Field<C, double>{"dampening", &C::dampening, Closed(0, 1)}};
  }
  // HYPERPARAMETER_OUT_OF_RANGE, naming `dampening`, if it is not 0 and the dialect has no
  // dampening.
  absl::Status Validate() const;
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Momentum final : public Optimizer {
 public:
  using Configuration = MomentumConfig;

  static uint64_t StateBytes(const MomentumConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Momentum(const MomentumConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slot "m"; scalar "m_is_set", which is 0 until the first step and 1 from then on, so that a
  // restored session does not mistake its next gradient for its first. The scalar is there in every
  // dialect, although only TORCH reads it.
  void VisitState(StateVisitor& visitor) override;

 private:
  MomentumConfig config_;
  AlignedBuffer m_;
  double m_is_set_ = 0;
  bool first_ = false;  // the open step is the first
};

}  // namespace talweg::core
