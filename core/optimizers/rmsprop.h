// SPDX-License-Identifier: Apache-2.0
//
// RMSProp: steps scaled per coordinate by the root of a running average of the squared gradient.
//
//   v <- alpha v + (1 - alpha) g^2
//   TORCH  W <- W - eta g / (sqrt(v) + epsilon)
//   KERAS  W <- W - eta g / sqrt(v + epsilon)
//
// `centered` divides by the gradient's own spread: a running average `mean` of the gradient is kept
// too, and max(v - mean^2, 0) takes the place of v (rounding could make the difference negative).
// With momentum mu > 0 the steps are summed in m:
//
//   TORCH  m <- mu m + g / (sqrt(v) + epsilon)      W <- W - eta m
//   KERAS  m <- mu m + eta g / sqrt(v + epsilon)    W <- W - m
//
// The defaults are torch.optim's in both dialects; Keras's own are alpha 0.9 and epsilon 1e-7.
//
// Source: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012;
// torch.optim.RMSprop; keras.optimizers.RMSprop.
// State: 4 bytes per parameter, 4 more if centered, and 4 more with momentum. A step reads and
// writes 20 bytes per parameter, and 8 more for each of these two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct RmspropConfig {
  double alpha = 0.99;    // share of v, and of the mean, kept at each step
  double epsilon = 1e-8;  // TORCH: in the unit of the gradient; KERAS: in the unit of its square;
                          // below 1.2e-38 it counts as 1.2e-38
  bool centered = false;
  // Share of m kept at each step; 0: there is no m. It is fixed, because it decides whether memory
  // is taken for m.
  double momentum = 0;
  Dialect dialect = Dialect::kTorch;

  static auto Fields() {
    using C = RmspropConfig;
    return std::tuple{Field<C, double>{"alpha", &C::alpha, HalfOpen(0, 1)},
                      Field<C, double>{"epsilon", &C::epsilon, Positive()},
                      Field<C, bool>{"centered", &C::centered, {}, Change::kFixed},
                      Field<C, double>{"momentum", &C::momentum, HalfOpen(0, 1), Change::kFixed},
                      DialectField<C>{"dialect", &C::dialect, {Dialect::kTorch, Dialect::kKeras}}};
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Rmsprop final : public Optimizer {
 public:
  using Configuration = RmspropConfig;

  static uint64_t StateBytes(const RmspropConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Rmsprop(const RmspropConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slots "v", "mean" if centered, and "m" with momentum.
  void VisitState(StateVisitor& visitor) override;

 private:
  RmspropConfig config_;
  AlignedBuffer v_;
  AlignedBuffer mean_;  // empty if not centered
  AlignedBuffer m_;     // empty without momentum
};

}  // namespace talweg::core
