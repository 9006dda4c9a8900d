// SPDX-License-Identifier: Apache-2.0
//
// NAdam: Adam with Nesterov's momentum, whose share of the gradient fades as training goes on.
//
//   m <- beta1 m + (1 - beta1) g             v <- beta2 v + (1 - beta2) g^2
//   mu_t = beta1 (1 - 0.96^(t psi) / 2)      p_t = mu_1 mu_2 ... mu_t      psi: momentum_decay
//   n = (1 - mu_t) / (1 - p_t) g + mu_(t+1) / (1 - p_(t+1)) m
//   W <- W - eta n / (sqrt(v / c2) + epsilon)      c2 = 1 - b2,  t counts from 1
//
// keras.optimizers.Nadam is psi = 1 with epsilon 1e-7. b2 is the product of the beta2 of each step
// so far, beta2^t if beta2 was never changed. b2 and p_t go on from where they were if
// hyper-parameters change during the run: each factor is what it was at its step. The power of 0.96
// is a function of our own, without a mathematics library.
//
// torch.optim.NAdam of PyTorch 1.10 to 1.13 has mu_t twice in p_(t+1) unless `foreach` is set; the
// formula above is that of `foreach`, and of PyTorch 2.
//
// Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016; torch.optim.NAdam.
// State: 8 bytes per parameter. A step reads and writes 28 bytes per parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct NadamConfig {
  double beta1 = 0.9;             // share of m kept at each step
  double beta2 = 0.999;           // share of v kept at each step
  double epsilon = 1e-8;          // in the unit of the gradient; below 1.2e-38 it counts as 1.2e-38
  double momentum_decay = 0.004;  // psi: how fast mu rises from beta1 / 2 to beta1

  static auto Fields() {
    using C = NadamConfig;
    return std::tuple{Field<C, double>{"beta1", &C::beta1, HalfOpen(0, 1)},
                      Field<C, double>{"beta2", &C::beta2, HalfOpen(0, 1)},
                      Field<C, double>{"epsilon", &C::epsilon, Positive()},
                      Field<C, double>{"momentum_decay", &C::momentum_decay, AtLeast(0)}};
  }
};

// 0.96^exponent for an exponent >= 0, by + - * / alone: the error is at most 2^-52, and the bits
// are the same on every machine.
double PowerOfPoint96(double exponent);

// Thread-compatible, except that disjoint shards may be applied at the same time.
class Nadam final : public Optimizer {
 public:
  using Configuration = NadamConfig;

  static uint64_t StateBytes(const NadamConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Nadam(const NadamConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slots "m" and "v"; scalars "mu_product" and "beta2_product".
  void VisitState(StateVisitor& visitor) override;

 private:
  NadamConfig config_;
  AlignedBuffer m_, v_;
  double mu_product_ = 1, beta2_product_ = 1;
  double mu_ = 0, next_mu_ = 0;  // of the open step and of the next
};

}  // namespace talweg::core
