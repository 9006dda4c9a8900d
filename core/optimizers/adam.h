// SPDX-License-Identifier: Apache-2.0
//
// Adam: steps scaled per coordinate by running averages of the gradient and of its square.
//
//   m <- beta1 m + (1 - beta1) g             v <- beta2 v + (1 - beta2) g^2
//   TORCH  W <- W - (eta / c1) m / (sqrt(v) / sqrt(c2) + epsilon)    c1 = 1 - beta1^t
//   KERAS  W <- W - eta sqrt(c2) / c1 m / (sqrt(v) + epsilon)        c2 = 1 - beta2^t
//   PAPER  W <- W - eta (m / c1) / (sqrt(v / c2) + epsilon)          t counts from 1
//
// TORCH and PAPER are one step written twice, and are computed alike. KERAS is the paper's remark
// on efficiency; its epsilon weighs more in the first steps. With AMSGrad the running maximum of v
// stands in v's place, whatever the dialect. beta^t is a running product: it stays right where beta
// changes on the way, and no libm is in it.
//
// Source: arXiv:1412.6980, algorithm 1 and section 2; arXiv:1904.09237 (AMSGrad).
// State: 8 bytes a parameter, 12 with AMSGrad. A step reads and writes 28, or 36.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "absl/types/span.h"
#include "core/base/aligned_buffer.h"
#include "core/optimizers/optimizer.h"

namespace talweg::core {

struct AdamConfig {
  double beta1 = 0.9;     // share of m kept at each step
  double beta2 = 0.999;   // share of v kept at each step
  double epsilon = 1e-8;  // in the unit of the gradient; below 1.2e-38 it counts as that
  Dialect dialect = Dialect::kTorch;
  bool amsgrad = false;

  static auto Fields() {
    using C = AdamConfig;
    return std::tuple{
        Field<C, double>{"beta1", &C::beta1, HalfOpen(0, 1)},
        Field<C, double>{"beta2", &C::beta2, HalfOpen(0, 1)},
        Field<C, double>{"epsilon", &C::epsilon, Positive()},
        DialectField<C>{
            "dialect", &C::dialect, {Dialect::kTorch, Dialect::kKeras, Dialect::kPaper}},
        Field<C, bool>{"amsgrad", &C::amsgrad, {}, Change::kFixed}};
  }
};

// Thread-compatible; disjoint shards may be applied at the same time.
class Adam final : public Optimizer {
 public:
  using Configuration = AdamConfig;

  static uint64_t StateBytes(const AdamConfig& config, const ParameterSpace& space);

  // `config` is valid.
  Adam(const AdamConfig& config, const ParameterSpace& space);

  void Configure(const Config& config) override;
  void BeginStep(uint64_t number) override;
  void Apply(const StepRates& rates, Shard shard, absl::Span<const float> gradient,
             absl::Span<const float> from, absl::Span<float> to) override;
  // Slots "m", "v" and, with AMSGrad, "v_max"; scalars "beta1_product" and "beta2_product".
  void VisitState(StateVisitor& visitor) override;

 private:
  AdamConfig config_;
  AlignedBuffer m_, v_;
  AlignedBuffer v_max_;  // empty without AMSGrad
  double beta1_product_ = 1, beta2_product_ = 1;
};

}  // namespace talweg::core
