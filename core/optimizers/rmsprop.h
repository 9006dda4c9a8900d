// SPDX-License-Identifier: Apache-2.0
//
// RMSProp: steps scaled per coordinate by the root of a running average of the squared gradient.
//
//   v <- alpha v + (1 - alpha) g^2
//   TORCH  W <- W - eta g / (sqrt(v) + epsilon)
//   KERAS  W <- W - eta g / sqrt(v + epsilon)
//
// `centered` divides by the gradient's own spread: c = v - mean^2 takes the place of v, where
// mean <- alpha mean + (1 - alpha) g. The difference would lose its digits if the gradient hardly
// changes; c has a recursion that does not:
//
//   d = g - mean, with the mean before this step      c <- alpha (c + (1 - alpha) d^2)
//
// For the same reason the method does not keep the mean, but the last gradient and its distance
// from the mean, which is alpha d: the next d is (g - last gradient) + alpha d.
//
// With momentum mu > 0 the steps are summed in m:
//
//   TORCH  m <- mu m + g / (sqrt(v) + epsilon)      W <- W - eta m
//   KERAS  m <- mu m + eta g / sqrt(v + epsilon)    W <- W - m
//
// The defaults are torch.optim's in both dialects; Keras's own are alpha 0.9 and epsilon 1e-7.
//
// Source: Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012;
// torch.optim.RMSprop; keras.optimizers.RMSprop. The recursion of c: T. Finch, "Incremental
// calculation of weighted mean and variance", 2009, section 9.
// State: 4 bytes per parameter, 8 more if centered, and 4 more with momentum. A step reads and
// writes 20 bytes per parameter, 16 more if centered, and 8 more with momentum.
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
  // Slots "v", or "c", "last_gradient" and "last_offset" if centered, and "m" with momentum. States
  // of earlier versions have "v" and "mean" if centered; c and the next d are computed of these.
  void VisitState(StateVisitor& visitor) override;

 private:
  // Takes what a state of an earlier version has.
  void ReadVAndMean(StateVisitor& reader);

  RmspropConfig config_;
  AlignedBuffer v_;                            // c if centered
  AlignedBuffer last_gradient_, last_offset_;  // empty if not centered
  AlignedBuffer m_;                            // empty without momentum
};

}  // namespace talweg::core
