// SPDX-License-Identifier: Apache-2.0
//
// AdaGrad: steps scaled per coordinate by the root of the sum of all squared gradients.
//
//   v <- v + g^2                                   v starts at initial_accumulator
//   TORCH  W <- W - eta g / (sqrt(v) + epsilon)
//   KERAS  W <- W - eta g / sqrt(v + epsilon)
//
// The defaults are torch.optim's in both dialects; Keras's own are epsilon 1e-7 and
// initial_accumulator 0.1.
//
// Source: Duchi, Hazan, Singer 2011; torch.optim.Adagrad without lr_decay (which a schedule does
// here); keras.optimizers.Adagrad. State: 4 bytes per parameter. A step reads and writes 20 bytes
// per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct AdagradConfig {
  double epsilon = 1e-10;  // TORCH: in the unit of the gradient; KERAS: in the unit of its square;
                           // below 1.2e-38 it counts as 1.2e-38
  double initial_accumulator = 0;  // of v, in the unit of the squared gradient
  Dialect dialect = Dialect::kTorch;

  static auto Fields() {
    using C = AdagradConfig;
    return std::tuple{Field<C, double>{"epsilon", &C::epsilon, Positive()},
                      Field<C, double>{"initial_accumulator", &C::initial_accumulator, AtLeast(0),
                                       Change::kFixed},
                      DialectField<C>{"dialect", &C::dialect, {Dialect::kTorch, Dialect::kKeras}}};
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Adagrad final : public Optimizer {
 public:
  using Configuration = AdagradConfig;

  static uint64_t StateBytes(const AdagradConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Adagrad(const AdagradConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slot "v".
  void VisitState(StateVisitor& visitor) override;

 private:
  AdagradConfig config_;
  AlignedBuffer v_;
};

}  // namespace talweg::core
