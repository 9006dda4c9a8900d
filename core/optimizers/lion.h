// SPDX-License-Identifier: Apache-2.0
//
// Lion: a step of one length everywhere, along the sign of a blend of momentum and gradient.
//
//   W <- W - eta sign(beta1 m + (1 - beta1) g)      sign(0) = 0, m starts at 0
//   m <- beta2 m + (1 - beta2) g
//
// Because of the sign, steps are larger than Adam's: the paper uses a rate 3 to 10 times smaller,
// and a decoupled decay that is larger by the same factor.
//
// Source: arXiv:2302.06675, algorithm 2. State: 4 bytes per parameter. A step reads and writes 20
// bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct LionConfig {
  double beta1 = 0.9;   // share of m in the direction
  double beta2 = 0.99;  // share of m kept at each step

  static auto Fields() {
    using C = LionConfig;
    return std::tuple{Field<C, double>{"beta1", &C::beta1, HalfOpen(0, 1)},
                      Field<C, double>{"beta2", &C::beta2, HalfOpen(0, 1)}};
  }
};

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Lion final : public Optimizer {
 public:
  using Configuration = LionConfig;

  static uint64_t StateBytes(const LionConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Lion(const LionConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slot "m".
  void VisitState(StateVisitor& visitor) override;

 private:
  LionConfig config_;
  AlignedBuffer m_;
};

}  // namespace talweg::core
